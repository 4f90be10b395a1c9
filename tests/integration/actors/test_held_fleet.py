"""Holds of large fleets: the statements that a pause, a resume and a cancel take do not grow with the sites."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from db.schema import steps, subclouds
from tests.integration.actors.held_installation import applied, verb
from tests.integration.db.db_rows import sent_statements
from tests.support.installation import Installation

SMALL, LARGE = 20, 5000
WIDTH = 10


def grow(installation: Installation, sites: int) -> None:
    """Add sites whose steps have not started to the strategy, as rows."""
    last = installation.rows(steps)[-1]
    (site,) = installation.rows(subclouds, id=last["subcloud_id"])
    fresh = {**last, "run_id": None, "state": "initial"}
    added = range(last["id"] + 1, last["id"] + 1 + sites)
    with installation.database.write() as connection:
        connection.execute(insert(subclouds), [{**site, "id": 10_000 + one, "name": f"x{one}"} for one in added])
        connection.execute(
            insert(steps),
            [
                {**fresh, "id": one, "subcloud_id": 10_000 + one, "subcloud_name": f"x{one}", "position": one}
                for one in added
            ],
        )


def counted(installation: Installation, name: str, **data: Any) -> int:
    """Return how many statements a verb sends."""
    with sent_statements(installation.database.writer_engine) as sent:
        assert verb(installation, name, **data).status == 200
    return len(sent)


@pytest.mark.parametrize("scope", ["starts", "phases"])
def test_statements_do_not_grow(installation: Installation, scope: str) -> None:
    """Pause, resume and cancel take as many statements with 5,000 sites as with 20, and so does a repeat."""
    for number in range(WIDTH):
        installation.add_site(f"s{number}")
    applied(installation, "", rollout={"mode": "window"}, **{"max-parallel-subclouds": WIDTH})
    counts = []
    for sites in (SMALL, LARGE):
        grow(installation, sites)
        counts.append(
            [
                counted(installation, "pause", scope=scope),
                counted(installation, "pause", scope=scope),
                counted(installation, "resume"),
            ]
        )

    assert counts[0] == counts[1]
    assert counted(installation, "cancel") <= 40
