"""Simulated sites: what a StarlingX subcloud, or a system controller, answers on its own APIs."""
