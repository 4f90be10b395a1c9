"""Traces and the context of log lines, carried from HTTP over AMQP and the database to the playbook.

Nothing of OpenTelemetry is imported here but by `tracing.otlp`, which `tracing.collector` loads when it is asked for.
"""
