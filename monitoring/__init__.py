"""Metrics for Prometheus and their HTTP server; the log, and the redaction of secrets in it."""
