"""Where the collector is, and what it wants to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import Settings
from tracing.collector import read_headers, traces_url


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://traces.example.com/otlp/v1/traces", "https://traces.example.com/otlp/v1/traces"),
    ],
)
def test_the_path_is_added_where_there_is_none(given: str, wanted: str) -> None:
    """An address alone gets the path of OTLP; a whole URL is taken as it is."""
    assert wanted == traces_url(given)


@pytest.mark.parametrize("given", ["collector:4318", "grpc://collector:4317", "http://", "http://me:secret@collector"])
def test_what_is_no_address_is_refused(given: str) -> None:
    """Neither another protocol nor a password in the address; no message repeats it."""
    with pytest.raises(ValueError, match=r"address|password") as caught:
        traces_url(given)

    assert "secret" not in str(caught.value)


def test_headers() -> None:
    """One a line, with a colon or an equals sign; comments and empty lines are left out."""
    text = "# ours\n\nAuthorization: Bearer abc=\nx-tenant=7\n"

    assert {"authorization": "Bearer abc=", "x-tenant": "7"} == read_headers(text)


def test_a_line_that_is_no_header_is_named_and_not_repeated(tmp_path: Path) -> None:
    """The fault tells the file and the line, not what is in it: it may be a secret."""
    file = tmp_path / "headers"
    file.write_text("x: y\nhush hush\n")

    with pytest.raises(ValueError, match="line 2") as caught:
        Settings(tracing_headers_file=file)

    assert "hush" not in str(caught.value)
