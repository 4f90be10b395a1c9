"""Whether an error is shown as HTML or as JSON. Pure.

dcmanager's client reads HTML and accepts anything, as scripts do. It is known by headers that it sends with every
request: ids of project and user where it logs in at Keystone, an OIDC token where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from multidict import CIMultiDict

# What dcmanager's client sends: the first two after a login by password, token or session; the last by OIDC.
CLIENT_HEADERS: Final = ("X-Project-Id", "X-User-Id", "OIDC-Token")
# All that the choice depends on.
DECIDING_HEADERS: Final = ("Accept", *CLIENT_HEADERS)

_JSON: Final = "application/json"
_HTML: Final = "text/html"
_ANY: Final = "*/*"
_RANGE: Final = re.compile(r"\*/\*|[!#$%&'+.^_`|~0-9a-z-]+/(?:\*|[!#$%&'+.^_`|~0-9a-z-]+)")
# A weight as RFC 9110 has it.
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def wants_html(given: Mapping[str, str]) -> bool:
    """Return whether an error is HTML for a request with these headers.

    It is where `Accept` prefers `text/html` to JSON; a draw is JSON. Without a preference, that is with `*/*`, without
    the header, and where nothing in it can be read, it is for dcmanager's client.
    """
    # Those of a request that could not be read are a plain mapping.
    headers = CIMultiDict(given)
    ranges = _media_ranges(",".join(headers.getall("Accept", [])))
    if not ranges or set(ranges) == {_ANY}:
        return any(headers.get(name) for name in CLIENT_HEADERS)
    return _preference(_HTML, ranges) > _preference(_JSON, ranges)


def _media_ranges(accept: str) -> dict[str, float]:
    """Return the weight of each media range; those that cannot be read are left out."""
    found: dict[str, float] = {}
    for text in accept.lower().split(","):
        name, *parameters = (part.strip() for part in text.split(";"))
        weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if _RANGE.fullmatch(name) and _WEIGHT.fullmatch(weight):
            found[name] = max(float(weight), found.get(name, 0.0))
    return found


def _preference(media_type: str, ranges: Mapping[str, float]) -> tuple[float, int]:
    """Return weight and closeness of the range that names the type most closely; an explicit name beats `*/*`."""
    patterns = (media_type, media_type.split("/", maxsplit=1)[0] + "/*", _ANY)
    for closeness, pattern in zip((2, 1, 0), patterns, strict=True):
        if pattern in ranges:
            weight = ranges[pattern]
            return (weight, closeness) if weight > 0 else (0.0, 0)
    return (0.0, 0)
