"""Dramatiq actors and what they do: the coordinator, the worker, the outbox relay, the reconciler."""
