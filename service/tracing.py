"""Open the tracer that the settings name."""

from __future__ import annotations

from messages.process_info import program_version
from service.errors import StartError
from service.roles import ProcessRole
from service.settings import Settings
from tracing.collector import TracingUnavailableError, open_tracer, read_headers
from tracing.tracer import NULL_TRACER, Tracer


def role_tracer(settings: Settings, roles: frozenset[ProcessRole], owner: str) -> Tracer:
    """Return the tracer of a process; `owner` is its unique name.

    Raises:
        StartError: Traces are wanted and the extra for them, or what it needs, is not there.
    """
    if settings.tracing == "off":
        return NULL_TRACER
    # Known by its role too: many processes are one service.
    resource = {
        "service.name": "prestager",
        "service.version": program_version(),
        "service.instance.id": owner,
        "prestager.role": "+".join(sorted(roles)),
    }
    try:
        return open_tracer(
            endpoint=settings.tracing_endpoint,
            headers=read_headers(settings.tracing_headers_file.read_text()) if settings.tracing_headers_file else {},
            ratio=settings.tracing_ratio,
            resource=resource,
        )
    except TracingUnavailableError as error:
        raise StartError(f"PRESTAGER_TRACING=otlp: {error}") from error
