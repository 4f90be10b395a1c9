"""Progress of a strategy in its answers: how many steps are how far, and which sites alone keep a stage open."""

from __future__ import annotations

from db import read_queries
from db.schema import runs, strategies
from db.strategy_progress import blocking_sites, step_progress
from messages.commands import CommandType
from messages.schemas import Progress
from messages.serializers import progress_resource
from statemachine.states import RunOutcome
from tests.integration.actors.held_installation import applied, end, take, verb
from tests.support.installation import Installation

ONE_AFTER_THE_OTHER = {"subcloud-apply-type": "serial"}


def progress(installation: Installation) -> Progress:
    """Return the progress of the active strategy."""
    with installation.database.read() as connection:
        strategy = read_queries.active_strategy(connection)
        assert strategy is not None
        counted = step_progress(connection, [strategy["id"]])[strategy["id"]]
        return progress_resource(counted, blocking_sites(connection, strategy))


def counted(installation: Installation) -> dict[str, object]:
    """Return the words under which steps are counted, with their numbers."""
    found = progress(installation)
    numbers = {word: number for word, number in found.items() if isinstance(number, int) and number}
    assert numbers.pop("total", 0) == sum(numbers.values())
    return numbers


def test_every_step_counts_once(installation: Installation) -> None:
    """Each step is counted under one word, from before its start to its end."""
    for name in "abcd":
        installation.add_site(name)
    installation.create(**{"subcloud-apply-type": "parallel", "max-parallel-subclouds": 10})
    assert {"not-started": 4} == counted(installation)
    assert None is progress(installation)["started-at"]

    installation.verb("apply")
    first, second, third, _fourth = installation.queued()
    assert {"queued": 4} == counted(installation)
    for run_id in (first, second, third):
        take(installation, run_id)
    assert {"running": 3, "queued": 1} == counted(installation)

    end(installation, second, RunOutcome.SKIPPED, details="not needed")
    end(installation, third, RunOutcome.FAILED, details="no")
    end(installation, first)
    assert {"preparing": 1, "skipped": 1, "failed": 1, "queued": 1} == counted(installation)

    verb(installation, "pause", scope="phases")
    (prepare,) = [row["id"] for row in installation.rows(runs, phase="prestage-prepare")]
    take(installation, prepare)
    end(installation, prepare)
    assert {"parked": 1, "skipped": 1, "failed": 1, "not-started": 1} == counted(installation)
    assert None is not progress(installation)["started-at"]

    verb(installation, "abort")
    assert {"queued": 1, "skipped": 1, "failed": 1, "aborted": 1} == counted(installation)
    verb(installation, "cancel")
    assert {"cancelled": 1, "skipped": 1, "failed": 1, "aborted": 1} == counted(installation)


def test_sites_of_a_deleted_strategy(installation: Installation) -> None:
    """Sites that had not started when their strategy became history are `not-started` there, and are in the total."""
    installation.add_site("a")
    installation.add_site("b")
    installation.create()
    installation.verb("delete")

    (strategy,) = installation.rows(strategies)
    with installation.database.read() as connection:
        counted = step_progress(connection, [strategy["id"]])[strategy["id"]]
    assert (2, 2) == (progress_resource(counted, [])["total"], progress_resource(counted, [])["not-started"])


def test_a_held_site_that_blocks(installation: Installation) -> None:
    """A site that is held by itself and alone keeps its stage open is named while later stages wait."""
    applied(installation, "ab", **ONE_AFTER_THE_OTHER)
    assert [] == progress(installation)["blocked-by"]

    installation.ask(CommandType.STEP_HOLD, subject="a", held=True)
    assert ["a"] == progress(installation)["blocked-by"]

    installation.ask(CommandType.STEP_HOLD, subject="a", held=False)
    assert [] == progress(installation)["blocked-by"]


def test_held_sites_that_block_nothing(installation: Installation) -> None:
    """No site is named while another one of its stage goes on, nor of the last stage, nor in a window."""
    applied(installation, "abc", **{"max-parallel-subclouds": 2})
    installation.ask(CommandType.STEP_HOLD, subject="a", held=True)
    of_stage = progress(installation)["blocked-by"]
    installation.ask(CommandType.STEP_HOLD, subject="b", held=True)
    of_both = progress(installation)["blocked-by"]
    verb(installation, "abort")
    installation.verb("delete")
    installation.create(rollout={"mode": "window"}, **ONE_AFTER_THE_OTHER)
    installation.verb("apply")
    installation.ask(CommandType.STEP_HOLD, subject="a", held=True)

    assert ([], ["a", "b"]) == (of_stage, of_both)
    assert [] == progress(installation)["blocked-by"]


def test_the_present_stage(installation: Installation) -> None:
    """The first stage with an open step is told with its size and how many of it have ended; none after the end."""
    applied(installation, "abc", **{"subcloud-apply-type": "parallel", "max-parallel-subclouds": 2})
    assert {"number": 1, "last": 2, "total": 2, "ended": 0} == progress(installation)["stage"]

    first, second = installation.queued()
    for run_id in (first, second):
        take(installation, run_id)
    end(installation, first, RunOutcome.FAILED, details="no")
    assert {"number": 1, "last": 2, "total": 2, "ended": 1} == progress(installation)["stage"]
    end(installation, second, RunOutcome.SKIPPED, details="not needed")
    assert {"number": 2, "last": 2, "total": 1, "ended": 0} == progress(installation)["stage"]

    verb(installation, "abort")
    verb(installation, "cancel")
    assert None is progress(installation)["stage"]
