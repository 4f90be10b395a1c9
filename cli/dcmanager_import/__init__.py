"""Writes our settings from those of dcmanager on the same controller."""
