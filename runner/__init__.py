"""Playbook runs: the supervisor, its child processes, inventories, and inspectors that read a site's facts."""
