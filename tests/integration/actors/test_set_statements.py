"""What many steps change is written in set statements: their number and texts do not depend on that of the sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from db.claims import claim_oldest
from db.runs import RunResult, finish_runs
from db.unit_of_work import unit_of_work
from statemachine.states import PrestageStatus, RunOutcome, StepState
from tests.integration.db.db_rows import sent_statements
from tests.support.installation import OWNER, Installation

FEW, MANY = 3, 30


def created(url: str, count: int) -> tuple[Installation, list[str]]:
    """Create a strategy of `count` sites; return what was sent for it, each row of a batch counted."""
    installation = Installation.of_coordinator(url)
    for place in range(count):
        installation.add_site(f"s{place:03}")
    with sent_statements(installation.database.writer_engine) as sent:
        assert installation.create(**{"max-parallel-subclouds": count}).status == 200
    return installation, texts(sent)


def texts(sent: list[tuple[str, object]]) -> list[str]:
    """Return the statements, those of a batch as often as it has rows."""
    return [text for text, given in sent for _ in (given if isinstance(given, list) else [given])]


def ended(installation: Installation, phase: StepState, outcome: RunOutcome) -> list[str]:
    """Have the waiting runs of a phase end, and return what the pass after it sends."""
    with unit_of_work(installation.database) as work:
        results = [
            RunResult(run_id=one.run_id, outcome=outcome, details="A reason.", facts={}, from_version="22.12")
            for one in claim_oldest(work, [phase], MANY, OWNER)
        ]
        finish_runs(work.connection, results, OWNER, work.at)
    assert results
    assert installation.coordinator is not None
    with sent_statements(installation.database.writer_engine) as sent:
        installation.coordinator.coordinate()
    return texts(sent)


def test_create_sends_as_many_statements_for_any_fleet(new_database_url: Callable[..., str]) -> None:
    """A strategy of many sites is created by the statements of one of few, and steps have the order of the sites."""
    few, sent_for_few = created(new_database_url(), FEW)
    many, sent_for_many = created(new_database_url(), MANY)

    assert sent_for_few == sent_for_many
    names = [name for name, _stage in many.stages()]
    assert names == [f"s{place:03}" for place in range(MANY)]
    for one in (few, many):
        one.database.close()


@pytest.mark.parametrize(
    ("last", "outcome", "status"),
    [
        (StepState.IMAGES, RunOutcome.SUCCEEDED, PrestageStatus.COMPLETE),
        (StepState.PACKAGES, RunOutcome.FAILED, PrestageStatus.FAILED),
    ],
    ids=["complete", "failed"],
)
def test_the_ends_of_many_steps_change_their_subclouds_at_once(
    new_database_url: Callable[..., str], last: StepState, outcome: RunOutcome, status: PrestageStatus
) -> None:
    """Subclouds are changed by one statement for each kind of change, however many steps have made the same move."""
    installation, _ = created(new_database_url(), MANY)
    assert installation.verb("apply").status == 200
    changes: Counter[str] = Counter()

    for phase in (StepState.PRECHECK, StepState.PREPARE, StepState.PACKAGES, StepState.IMAGES):
        how = outcome if phase == last else RunOutcome.SUCCEEDED
        changes.update(text for text in ended(installation, phase, how) if text.startswith("UPDATE subclouds"))
        if phase == last:
            break

    assert {1} == set(changes.values())
    shown = {installation.site(f"s{place:03}")["prestage_status"] for place in range(MANY)}
    assert {status} == shown
    installation.database.close()
