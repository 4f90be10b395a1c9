"""The one line in a run's output that is ours: where something of it was left out."""

from __future__ import annotations


def left_out_note(size_bytes: int) -> str:
    """Return the line that stands for `size_bytes` bytes of output that are not there."""
    return f"\n[... {size_bytes} bytes of output left out here ...]\n"
