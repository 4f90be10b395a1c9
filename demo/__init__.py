"""Demonstration content: package feeds, image layouts and a fleet of sites that are directories of this machine.

Used by the demonstration and by the playbook tests; never by the service.
"""
