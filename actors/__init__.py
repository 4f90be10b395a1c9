"""Dramatiq actors, and the coordinator and worker that their messages drive."""
