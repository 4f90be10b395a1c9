"""Error pages as dcmanager's client reads them (contract 2.3): WebOb's HTML, or JSON when asked for.

The client strips the tags and shows the third line of text: that is the detail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final

from aiohttp import web

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

_JSON: Final = "application/json"
_HTML: Final = "text/html"


def error_page(request: web.BaseRequest, status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    """Return the answer to a request that failed, in the form that its Accept header asks for."""
    title = _title(status)
    if wants_json(request.headers.get("Accept", "")):
        text = json.dumps({"code": status, "title": title, "description": detail})
        return web.Response(status=status, body=text.encode(), headers=headers, content_type=_JSON)
    text = _PAGE.format(
        status=f"{status} {title}", explanation=_explanation(request, status), detail=escape(detail, quote=True)
    )
    body = text.encode(errors="replace")
    return web.Response(status=status, body=body, headers=headers, content_type=_HTML, charset="UTF-8")


def wants_json(accept: str) -> bool:
    """Tell whether an Accept header prefers JSON to HTML; HTML wins a draw, and `*/*` is a draw."""
    ranges = [_media_range(text) for text in accept.split(",")]
    return _preference(_JSON, ranges) > _preference(_HTML, ranges)


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = next((part[2:] for part in parameters if part.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0


def _preference(media_type: str, ranges: list[tuple[str, float]]) -> tuple[float, int]:
    """Return weight and closeness of the range that names the type most closely; an explicit name beats `*/*`."""
    patterns = (media_type, media_type.split("/", maxsplit=1)[0] + "/*", "*/*")
    for closeness, pattern in zip((2, 1, 0), patterns, strict=True):
        weights = [weight for name, weight in ranges if name == pattern]
        if weights:
            return (max(weights), closeness) if max(weights) > 0 else (0.0, 0)
    return (0.0, 0)


def _title(status: int) -> str:
    if status in _TITLES:
        return _TITLES[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _explanation(request: web.BaseRequest, status: int) -> str:
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"The method {escape(request.method)} is not allowed for this resource."
    return _EXPLANATIONS.get(status, _INTERNAL)
