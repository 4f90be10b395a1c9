"""Tracer that sends to a collector: its address, its headers (usually credentials), and whether it is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from tracing.tracer import Tracer

_LINE = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*[:=]\s*(\S.*)")

_NEEDED: Final = "opentelemetry.exporter.otlp.proto.http"
HOW_TO_INSTALL: Final = (
    "the Python packages of the extra `tracing` are not installed. Install them (pip install 'prestager[tracing]',"
    " bin/setup tracing, or deploy/install --tracing), or set PRESTAGER_TRACING=off."
)


def read_headers(text: str) -> dict[str, str]:
    """Return the headers of a file: `Name: value`, one a line; empty lines and those that begin with # are left out.

    Raises:
        ValueError: A line is no header; the text says which, and never repeats it.
    """
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or not found[2].isascii() or not found[2].isprintable():
            raise ValueError(f"has in line {number} something that is no header; write Name: value")
        headers[found[1].lower()] = found[2]
    return headers


def traces_url(text: str) -> str:
    """Return the URL for traces of a collector; one that is given with a path is taken as it is.

    Raises:
        ValueError: It is none, or holds a password.
    """
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ValueError("is not the address of a collector such as http://collector:4318")
    if "@" in url.netloc:
        raise ValueError("holds a password; write it as a header into PRESTAGER_TRACING_HEADERS_FILE")
    return text if url.path.strip("/") else f"{text.rstrip('/')}/v1/traces"


class TracingUnavailableError(Exception):
    """Traces cannot be made here; the message says what to do."""


def is_installed() -> bool:
    """Return whether OpenTelemetry is installed; imports next to nothing."""
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
