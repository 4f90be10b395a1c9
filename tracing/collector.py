"""Address of the trace collector and the headers for it, usually credentials. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_LINE = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*[:=]\s*(\S.*)")


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
