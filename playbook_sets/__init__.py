"""Sets of playbooks: which playbooks and variables a phase has, and whether Ansible loads the set."""
