"""Start playbook runs by forking a process that has loaded Ansible, instead of loading Ansible for each."""
