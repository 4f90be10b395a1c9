"""Reads dcmanager's list of subclouds over REST."""
