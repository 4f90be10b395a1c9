"""Holds of large fleets: the statements that a pause, a resume and a cancel take do not grow with the sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from db.schema import events, runs, steps
from tests.bench.commands import add_sites, bring_halfway
from tests.integration.actors.held_installation import verb
from tests.integration.db.db_rows import sent_statements
from tests.support.installation import Installation

SMALL, LARGE = 50, 500


def counted(installation: Installation, name: str, **data: Any) -> int:
    """Return how many statements a verb sends; each row of a batch is one."""
    with sent_statements(installation.database.writer_engine) as sent:
        assert verb(installation, name, **data).status == 200
    return sum(len(given) if isinstance(given, list) else 1 for _statement, given in sent)


def counts(installation: Installation, sites: int, scope: str) -> list[int]:
    """Return the statements of each command over a strategy whose first stage, of half the sites, is halfway."""
    add_sites(installation.database, sites)
    bring_halfway(installation, sites // 2)
    commands: list[tuple[str, dict[str, Any]]] = [
        ("pause", {"scope": scope}),
        ("pause", {"scope": scope}),
        ("resume", {}),
        ("pause", {"scope": scope}),
        ("cancel", {}),
        ("cancel", {}),
    ]
    return [counted(installation, name, **data) for name, data in commands]


@pytest.mark.parametrize("scope", ["starts", "phases"])
def test_statements_do_not_grow(new_database_url: Callable[..., str], scope: str) -> None:
    """Pause, resume and cancel take as many statements with 500 sites as with 50, and so does a repeat."""
    found = []
    for sites in (SMALL, LARGE):
        installation = Installation.of_coordinator(new_database_url())
        try:
            found.append(counts(installation, sites, scope))
            aborted = [row for row in installation.rows(events) if row["type"] == "step.prestage.aborted"]
            running = installation.rows(runs, state="running")
            assert sites - len(running) == sum(len(row["data"]["steps"]) for row in aborted)
            assert sites - len(running) == len(installation.rows(steps, state="aborted"))
            # One event for those that had not started, and one for those that a hold or the cancel left without a run.
            assert 2 == len(aborted)
        finally:
            installation.database.close()

    assert found[0] == found[1]
    assert max(found[0]) <= 50
