"""Writes the documents that are made from the code, such as docs/openapi.json: `make documents`.

A test fails when what is committed is not what this writes.
"""  # noqa: INP001 - a program of its own

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from apidocs.asyncapi.assembly import document_text as asyncapi_text
from apidocs.openapi.assembly import document_text as openapi_text
from docs.help_texts import command_line_page, help_texts
from docs.settings_page import settings_text

_DOCS: Final = Path(__file__).parent

# Name of the file → what makes its text.
DOCUMENTS: Final[Mapping[str, Callable[[], str]]] = {
    "openapi.json": openapi_text,
    "asyncapi.json": asyncapi_text,
    "settings.md": settings_text,
    "../cli/help_texts.json": help_texts,
    "cli.md": command_line_page,
}


def main() -> None:
    """Write them all."""
    for name, make in DOCUMENTS.items():
        (_DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
