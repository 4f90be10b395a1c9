"""Responses to requests that failed: JSON, or WebOb's HTML for dcmanager's client and for browsers.

The client reads HTML and accepts anything, as scripts do. It is known by headers that it sends with every request: ids
of project and user where it logs in at Keystone, an OIDC token where it does not. It strips the tags and shows the
third line of text, which is the detail.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

# Headers of dcmanager's client: the first two after a login by password, token or session; the last by OIDC.
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


_CREDENTIALS: Final = (
    "This server could not verify that you are authorized to access the document you requested. Either you supplied"
    " the wrong credentials (e.g., bad password), or your browser does not understand how to supply the credentials"
    " required."
)
_INTERNAL: Final = "The server has either erred or is incapable of performing the requested operation."
# Where WebOb's words differ from Python's.
_TITLES: Final = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}
_EXPLANATIONS: Final = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    401: _CREDENTIALS,
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    408: "The server has waited too long for the request to be sent by the client.",
    409: "There was a conflict when trying to complete your request.",
    413: "The body of your request was too large for this server.",
    422: "Unable to process the contained instructions",
    500: _INTERNAL,
    417: "The expectation in the header Expect cannot be met.",
    503: "The server is currently unavailable. Please try again at a later time.",
    504: "The gateway has timed out.",
}
_PAGE: Final = """<html>
 <head>
  <title>{status}</title>
 </head>
 <body>
  <h1>{status}</h1>
  {explanation}<br /><br />
{detail}


 </body>
</html>"""

# A cache may keep a 404 for any caller and in either form, unless it is forbidden.
_UNCACHED: Final = {
    hdrs.VARY: ", ".join(DECIDING_HEADERS),
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
}


def error_response(request: web.BaseRequest, status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    """Return the response to a request that failed, in the form that its headers ask for.

    Args:
        request: Its headers choose HTML or JSON.

        status: The HTTP status.

        detail: The text for the caller; empty: the explanation of the status in its place.

        headers: Headers beside those that forbid caching.
    """
    title = _title(status)
    headers = {**_UNCACHED, **headers}
    if not wants_html(request.headers):
        body = _json_body(status, detail or _explanation(request.method, status))
        return web.Response(status=status, body=body, headers=headers, content_type=_JSON)
    text = _PAGE.format(
        status=f"{status} {title}",
        explanation=escape(_explanation(request.method, status), quote=False),
        detail=escape(detail, quote=True),
    )
    body = text.encode(errors="replace")
    return web.Response(status=status, body=body, headers=headers, content_type=_HTML, charset="UTF-8")


def last_answer(status: int, description: str, *headers: str) -> bytes:
    """Return an error as the bytes of a whole response, for connections that end before a request could be read."""
    body = _json_body(status, description)
    lines = (f"HTTP/1.1 {status} {_title(status)}", *headers, "Connection: close", f"Content-Type: {_JSON}")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


def _json_body(status: int, description: str) -> bytes:
    return json.dumps({"code": status, "title": _title(status), "description": description}).encode()


def _title(status: int) -> str:
    if status in _TITLES:
        return _TITLES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _explanation(method: str, status: int) -> str:
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"The method {method} is not allowed for this resource."
    return _EXPLANATIONS.get(status, _INTERNAL)
