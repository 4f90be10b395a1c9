"""Open the tracer that is asked for; without OpenTelemetry, say how to get it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from tracing.tracer import Tracer

_NEEDED: Final = "opentelemetry.exporter.otlp.proto.http"
HOW_TO_INSTALL: Final = (
    "the Python packages of the extra `tracing` are not installed. Install them (pip install 'prestager[tracing]',"
    " bin/setup tracing, or deploy/install --tracing), or set PRESTAGER_TRACING=off."
)


class TracingUnavailableError(Exception):
    """Traces cannot be made here; the message says what to do."""


def is_installed() -> bool:
    """Tell whether OpenTelemetry is there; imports next to nothing."""
    try:
        return find_spec(_NEEDED) is not None
    except ModuleNotFoundError:
        return False


def open_tracer(
    *, endpoint: str | None, headers: Mapping[str, str], ratio: float, resource: Mapping[str, str]
) -> Tracer:
    """Return a tracer that sends over OTLP/HTTP. Nothing connects yet.

    Raises:
        TracingUnavailableError: OpenTelemetry is not installed.
    """
    try:
        # Only now: it takes a quarter of a second and 4 MB, and is not there without the extra.
        from tracing.otlp import open_otlp  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise TracingUnavailableError(HOW_TO_INSTALL) from error
    return open_otlp(endpoint=endpoint, headers=headers, ratio=ratio, resource=resource)
