"""The documents as texts: for the routes that serve them, and for the file in docs/."""

from __future__ import annotations

import json
from functools import cache

from api.docs_routes import ApiDocuments
from apidocs.openapi.assembly import build_document
from apidocs.openapi.page import STYLE_SOURCE, render_page


@cache
def make_documents() -> ApiDocuments:
    """Return the documents, made once in a process: every application of it has the same."""
    document = build_document()
    return ApiDocuments(document_text(), render_page(document), STYLE_SOURCE)


def document_text() -> str:
    """Return the OpenAPI document, to be read by people too."""
    return json.dumps(build_document(), indent=2, ensure_ascii=False) + "\n"
