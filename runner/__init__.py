"""Playbook runs: the supervisor, its child processes, inventories, masking, and whether a set of playbooks loads."""
