"""Metrics for Prometheus and health with an HTTP server of their own; the log, and the redaction of secrets in it."""
