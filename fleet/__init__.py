"""Simulated sites: what a StarlingX subcloud, or a system controller, answers over SSH and on its own APIs."""
