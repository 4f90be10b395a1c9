"""Plugins that Ansible loads in every run; they know nothing of the other packages."""
