"""Rules of making facts safe to store."""

from __future__ import annotations

import json
from pathlib import Path

from runner.event_collector import json_safe, size_bytes


def test_json_values_stay_as_they_are() -> None:
    """Plain JSON is not changed."""
    value = {"a": [1, 2.5, True, None, "ä"], "b": {"c": "d"}}

    assert value == json_safe(value)


def test_what_json_or_a_database_lacks_is_replaced() -> None:
    """Numbers that are none become None; NUL and lone surrogates become a replacement character."""
    safe = json_safe({"n\x00": [float("nan"), float("inf"), "a\x00b", "\ud800"], "t": (1,), "o": Path("/p")})

    assert [None, None, "a\ufffdb", "\ufffd"] == safe["n\ufffd"]
    assert ([1], "/p") == (safe["t"], safe["o"])
    json.dumps(safe, allow_nan=False).encode()


def test_size_counts_json() -> None:
    """The size is that of the JSON text."""
    assert len('{"a": "b"}') == size_bytes({"a": "b"})
