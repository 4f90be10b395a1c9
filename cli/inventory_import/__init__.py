"""Reads a fleet from a file and registers its sites, all of them or none."""
