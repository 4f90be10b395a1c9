"""The first contact of a site whose host key is not recorded: what becomes of its run."""

from __future__ import annotations

from concurrent.futures import Future
from unittest.mock import Mock

from actors.worker.claimed_runs import run_result
from actors.worker.host_key_check import FirstContact
from db.runs import RunResult
from statemachine.states import RunOutcome


def test_a_cancelled_first_contact_ends_as_every_other_run() -> None:
    """A run that is cancelled while its site's key is read ends as others do, then its place is free."""
    ended: list[RunResult | str] = []
    cancelled = run_result(1, RunOutcome.CANCELLED, "It was cancelled.")
    answer: Future[None] = Future()
    answer.cancel()

    def begin(run_id: int, work: object, on_end: object) -> None:
        del run_id
        work.close()  # type: ignore[attr-defined]
        on_end(answer)  # type: ignore[operator]

    contact = FirstContact(
        Mock(),
        Mock(begin=begin),
        Mock(),
        start=Mock(),
        stopped=lambda _: cancelled,
        finish=ended.append,
        freed=lambda: ended.append("freed"),
    )
    contact.begin(Mock(run_id=1))

    assert [cancelled, "freed"] == ended
