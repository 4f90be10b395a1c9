"""Knows callers by their Keystone tokens, for installations with PRESTAGER_AUTH=keystone."""
