"""Traces and the context of log lines: where one is, carried from HTTP over AMQP and the database to the playbook.

Nothing of OpenTelemetry is imported here but by `tracing.otlp`, which `tracing.opening` loads when it is asked for.
"""
