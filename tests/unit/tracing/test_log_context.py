"""What log lines say of the work that they are about."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

from tracing.tracer import LogContext, active_traceparent, add_context

HERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def said() -> dict[str, object]:
    """Return what a line would say now."""
    return dict(add_context(None, "", {}))


def test_the_ids_are_said_within_the_block_only() -> None:
    """What was bound before is back afterwards, also after an error."""
    with LogContext({"run": 1, "step": 2}):
        with suppress(ZeroDivisionError), LogContext({"run": 7, "phase": "p"}):
            assert {"run": 7, "step": 2, "phase": "p"} == said()
            raise ZeroDivisionError
        assert {"run": 1, "step": 2} == said()

    assert {} == said()


def test_another_thread_says_none_of_them() -> None:
    """Ids are of one thread: nothing leaks into what goes on elsewhere."""
    found: list[object] = []
    with LogContext({"run": 1}, HERE):
        thread = Thread(target=lambda: found.extend([said(), active_traceparent()]))
        thread.start()
        thread.join()

    assert [{}, None] == found


def test_a_line_says_where_it_is_in_a_trace() -> None:
    """Trace and span are said where there is one; a line about another trace keeps that, and no foreign span."""
    with LogContext({}, HERE):
        assert {"trace": HERE[3:35], "span": HERE[36:52]} == add_context(None, "", {})
        assert {"trace": "other"} == add_context(None, "", {"trace": "other"})

    assert {} == add_context(None, "", {})
