"""Traces and the context of log lines: where one is, carried from HTTP over AMQP and the database to the playbook.

Nothing of OpenTelemetry is imported here but by `tracing.otlp`, which the bootstrap loads when it is asked for.
"""
