"""The prestager command: the service's process, and what operators do from a shell."""
