"""The W3C trace context in one short text: the trace, the span in it, and whether it is recorded. Pure.

It travels as a header of HTTP and AMQP, as an attribute of CloudEvents, in rows of the database, and in the
environment of a playbook.
"""

from __future__ import annotations

import re
from typing import Final

LENGTH: Final = 55
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION: Final = "ff"
_SAMPLED: Final = 1


def well_formed(text: object) -> str | None:
    """Return what a stranger gave as a traceparent, in our version of it; None when it is none.

    A later version may have more at its end, which is left out, as the specification says.
    """
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == _INVALID_VERSION or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return f"00-{trace}-{span}-{int(flags, 16) & _SAMPLED:02x}"


def compose(trace: int, span: int, *, sampled: bool) -> str:
    """Return the text of these ids."""
    return f"00-{trace:032x}-{span:016x}-{int(sampled):02x}"


def trace_of(traceparent: str) -> str:
    """Return the id of the trace, 32 hexadecimal digits."""
    return traceparent[3:35]


def span_of(traceparent: str) -> str:
    """Return the id of the span, 16 hexadecimal digits."""
    return traceparent[36:52]


def is_sampled(traceparent: str) -> bool:
    """Tell whether the trace is recorded."""
    return traceparent.endswith("1")
