"""The form of a traceparent, as W3C Trace Context writes it."""

from __future__ import annotations

import pytest

from tracing.tracer import compose, is_sampled, parse_traceparent, span_of, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


class TestWellFormed:
    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            (GOOD, GOOD),
            (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
            # Flags that are not known yet are left out.
            (f"00-{TRACE}-{SPAN}-ff", GOOD),
            # A later version may have more at its end.
            (f"01-{TRACE}-{SPAN}-01-what-comes", GOOD),
        ],
    )
    def test_what_is_one_is_taken(self, given: str, wanted: str) -> None:
        """A good one of any version is taken, as one of ours."""
        assert wanted == parse_traceparent(given)

    @pytest.mark.parametrize(
        "given",
        [
            None,
            7,
            b"00",
            "",
            "nonsense",
            GOOD[:-1],
            f"{GOOD}-more",
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            GOOD.upper(),
            f"{GOOD}\n",
            f"00-{TRACE}-{SPAN}-0x",
        ],
    )
    def test_what_is_none_is_as_if_it_were_not_there(self, given: object) -> None:
        """Nonsense, and ids of zeros only, are nothing."""
        assert parse_traceparent(given) is None


def test_its_parts() -> None:
    """Trace, span and whether it is recorded are read where they were written."""
    text = compose(int(TRACE, 16), int(SPAN, 16), sampled=True)

    assert GOOD == text
    assert (TRACE, SPAN) == (trace_of(text), span_of(text))
    assert is_sampled(text)
    assert not is_sampled(compose(1, 2, sampled=False))
