"""Simulated sites: the answers of a StarlingX subcloud or system controller over SSH and its own APIs."""
