"""Time series of a strategy, counted by each database from the moments in its rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, insert, select

from db.database import Database
from db.schema import holds, runs, steps, strategies
from db.time_series import read_series
from messages.time_series import TimeSeries
from tests.integration.db.db_rows import AT, sent_statements
from tests.support import api_rows

PACKAGES = "prestaging-packages"


def at(seconds: float) -> datetime:
    """Return a moment by seconds after the strategy was applied."""
    return AT + timedelta(seconds=seconds)


def add_strategy(connection: Connection, **values: object) -> None:
    """Add the strategy 1."""
    connection.execute(insert(strategies).values(api_rows.strategy(1, **{"applied_at": AT, **values})))


def add_step(connection: Connection, number: int, begin: float | None, end: float | None, **values: object) -> None:
    """Add a step by seconds of its begin and end, with the run of its packages where it has begun."""
    moments = {"started_at": None if begin is None else at(begin), "finished_at": None if end is None else at(end)}
    row = api_rows.step(number, f"site{number}", strategy_id=1, **{**moments, **values})
    connection.execute(insert(steps).values(row))
    if begin is not None:
        # The second half of its time.
        middle = at(begin + 1) if end is None else at((begin + end) / 2)
        run = api_rows.run(number, PACKAGES, step_id=number, started_at=middle, finished_at=moments["finished_at"])
        connection.execute(insert(runs).values(run))


def series(connection: Connection) -> TimeSeries:
    """Return the series of the strategy 1."""
    row = connection.execute(select(strategies).where(strategies.c.id == 1)).mappings().one()
    return read_series(connection, row)


def test_counts_over_time(connection: Connection) -> None:
    """Each point has the sites in flight, at a playbook, ended and failed at its moment."""
    add_strategy(connection, finished_at=at(5.5), state="failed")
    add_step(connection, 1, 0, 4, state="complete", outcome="complete")
    add_step(connection, 2, 1, 5, state="failed", outcome="failed")
    # Aborted before it began: it ended, and was never in flight.
    add_step(connection, 3, None, 5, state="aborted", outcome="aborted")
    found = series(connection)

    assert (found["from"], found["to"]) == ("2022-03-03T10:00:00.000+00:00", "2022-03-03T10:00:05.500+00:00")
    assert found["distance-s"] == 1
    counts = [(one["in-flight"], one["at-playbook"], one["ended"], one["failed"]) for one in found["points"]]
    assert counts == [(1, 0, 0, 0), (2, 0, 0, 0), (2, 1, 0, 0), (2, 2, 0, 0), (1, 1, 1, 0), (0, 0, 3, 1)]
    assert found["points"][-1]["at"] == found["to"]


def test_a_strategy_that_goes_on(connection: Connection) -> None:
    """While a strategy goes on its series ends now, with the sites that are in flight and at a playbook now."""
    now = datetime.now(UTC)
    add_strategy(connection, applied_at=now - timedelta(seconds=90))
    add_step(connection, 1, (now - AT).total_seconds() - 80, None, state=PACKAGES)
    found = series(connection)
    last = found["points"][-1]

    assert found["to"] is not None
    assert abs((datetime.fromisoformat(found["to"]) - now).total_seconds()) < 60
    assert (last["in-flight"], last["at-playbook"], last["ended"]) == (1, 1, 0)


def test_whole_seconds_are_not_missed(connection: Connection) -> None:
    """A moment at a whole second, or a millisecond before it, lies in its own bucket."""
    add_strategy(connection, finished_at=at(100), state="complete")
    for number in range(1, 100):
        add_step(connection, number, number - (0.001 if number % 2 else 0), None)

    # The first begins a millisecond before a second, the second at a second, and so on.
    expected = [number + 1 - number % 2 for number in range(99)]
    assert [one["in-flight"] for one in series(connection)["points"]] == [*expected, 99, 99]


def test_stages(connection: Connection) -> None:
    """A stage has its name, its counts, the begin of its first site and, once all have ended, the end of its last."""
    named = {"stages": [{"name": "canary", "stage": 1}, {"name": "rest", "stage": 2}]}
    add_strategy(connection, rollout=named)
    add_step(connection, 1, 0, 4, state="complete", outcome="complete")
    add_step(connection, 2, 1, 5, state="failed", outcome="failed")
    add_step(connection, 3, 6, 7, state="complete", outcome="complete", stage=2)
    add_step(connection, 4, None, None, stage=2)

    assert series(connection)["stages"] == [
        {
            "stage": 1,
            "name": "canary",
            "sites": 2,
            "ended": 2,
            "failed": 1,
            "started-at": "2022-03-03T10:00:00.000+00:00",
            "finished-at": "2022-03-03T10:00:05.000+00:00",
        },
        {
            "stage": 2,
            "name": "rest",
            "sites": 2,
            "ended": 1,
            "failed": 0,
            "started-at": "2022-03-03T10:00:06.000+00:00",
            "finished-at": None,
        },
    ]


def test_holds(connection: Connection) -> None:
    """Holds of the strategy, open or ended, are listed and mark the points that they touch; those of sites are not."""
    add_strategy(connection, finished_at=at(4), state="complete")
    add_step(connection, 1, 0, 4, state="complete", outcome="complete")
    hold = {"strategy_id": 1, "kind": "operator", "scope": "starts", "reason": "storm", "by": "alice"}
    connection.execute(insert(holds).values(**hold, since=at(2.2), ended_at=at(2.8)))
    connection.execute(insert(holds).values(**hold, step_id=1, since=at(0), ended_at=at(4)))
    found = series(connection)

    assert [one["held"] for one in found["points"]] == [False, False, True, False, False]
    assert found["holds"] == [
        {
            "kind": "operator",
            "stage": None,
            "reason": "storm",
            "by": "alice",
            "since": "2022-03-03T10:00:02.200+00:00",
            "ended-at": "2022-03-03T10:00:02.800+00:00",
        }
    ]


def test_a_strategy_that_was_not_applied(connection: Connection) -> None:
    """A strategy that was not applied has its stages and no point."""
    add_strategy(connection, state="initial", applied_at=None)
    add_step(connection, 1, None, None)
    found = series(connection)

    assert (found["from"], found["to"], found["points"]) == (None, None, [])
    assert [one["sites"] for one in found["stages"]] == [1]


def test_a_strategy_of_before(connection: Connection) -> None:
    """A strategy that was applied before that moment was kept begins with its first site."""
    add_strategy(connection, applied_at=None, finished_at=at(9), state="complete")
    add_step(connection, 1, 7, 9, state="complete", outcome="complete")

    assert series(connection)["from"] == "2022-03-03T10:00:07.000+00:00"


def test_statements_do_not_grow(database: Database) -> None:
    """A series costs the same few statements for two sites and for two hundred."""
    numbers = []
    for places in (range(1, 3), range(3, 201)):
        with database.write() as connection:
            if places[0] == 1:
                add_strategy(connection)
            for place in places:
                add_step(connection, place, place, place + 5, state="complete", outcome="complete", stage=place)
            with sent_statements(database.writer_engine) as sent:
                series(connection)
        numbers.append(len(sent))

    assert numbers[0] == numbers[1] <= 8
