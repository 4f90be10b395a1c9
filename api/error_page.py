"""Error pages: JSON, or WebOb's HTML for dcmanager's client and for browsers.

The client strips the tags and shows the third line of text: that is the detail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web

from api.negotiation import DECIDING_HEADERS, wants_html

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

_JSON: Final = "application/json"
_HTML: Final = "text/html"
# A cache may keep a 404 for any caller and in either form, unless it is told.
_UNCACHED: Final = {
    hdrs.VARY: ", ".join(DECIDING_HEADERS),
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
}


def error_page(request: web.BaseRequest, status: int, detail: str, headers: Mapping[str, str]) -> web.Response:
    """Return the answer to a request that failed, in the form that its headers ask for."""
    title = _title(status)
    headers = {**_UNCACHED, **headers}
    if not wants_html(request.headers):
        body = _json_page(status, detail or _explanation(request.method, status))
        return web.Response(status=status, body=body, headers=headers, content_type=_JSON)
    text = _PAGE.format(
        status=f"{status} {title}",
        explanation=escape(_explanation(request.method, status), quote=False),
        detail=escape(detail, quote=True),
    )
    body = text.encode(errors="replace")
    return web.Response(status=status, body=body, headers=headers, content_type=_HTML, charset="UTF-8")


def last_answer(status: int, description: str, *headers: str) -> bytes:
    """Return an error as the bytes of a whole answer, for connections that end before a request could be read."""
    body = _json_page(status, description)
    lines = (f"HTTP/1.1 {status} {_title(status)}", *headers, "Connection: close", f"Content-Type: {_JSON}")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


def _json_page(status: int, description: str) -> bytes:
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
