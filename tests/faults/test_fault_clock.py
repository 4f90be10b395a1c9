"""Jumps of the wall clock by an hour: nothing is taken from the living, no deadline passes, the dead are still found.

The clocks of database and worker are simulated, so an hour takes seconds; coordinator, leases, plan and database
(SQLite) are the real ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import event, select

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator, LeaseExpiry
from actors.worker.lease_renewal import RENEWAL_S, WATCH_S, LeasedRuns, Leases
from db.claims import claim_runs
from db.database import Database
from db.encryption import Sealer
from db.migrate import upgrade
from db.schema import runs
from db.unit_of_work import UnitOfWork
from messages.commands import Command, CommandType
from runner.child_pool import ChildPool
from runner.interface import PlaybookJob
from runner.protocol import Ended, Order, Report, Stop
from runner.run_session import RunSession
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome
from tests.faults.fault_installation import scaled, seeded

pytestmark = pytest.mark.faults

SITES = 4
HOUR_S = 3600.0
# Seconds of one simulated life, and between two looks of the coordinator.
LIFE_S = 400
RECONCILE_S = 4
# Within this time a dead worker is noticed, in seconds.
NOTICED_S = 60
_DAY_S = 86400.0
_EPOCH_JULIAN_DAY = 2440587.5


class Clocks:
    """One clock that never jumps and one of the wall, which does; in seconds, set by hand."""

    def __init__(self) -> None:
        self.steady_s = 1000.0
        self.jumped_s = 0.0

    def steady(self) -> float:
        """Return the time since some moment."""
        return self.steady_s

    def julian_day(self, _: object) -> float:
        """Return what SQLite, asked for the time, shall believe."""
        return (1_800_000_000.0 + self.steady_s + self.jumped_s) / _DAY_S + _EPOCH_JULIAN_DAY


class Fleet:
    """A coordinator, and one worker that is at work on all sites; their loops turn when the time for it has come."""

    def __init__(self, file: Path) -> None:
        self.clocks = Clocks()
        self.database = Database(f"sqlite:///{file}")
        event.listen(self.database.writer_engine, "connect", self._set_clock)
        upgrade(self.database)
        rules = CoordinatorRules(release="23.09")
        self.coordinator = Coordinator(self.database, DeclaredInspector(), rules)
        self.coordinator._overdue = LeaseExpiry(self.clocks.steady)
        for place in range(SITES):
            self._prestage(f"site{place}")
        self.held = frozenset(run_id for run_id in self._run_ids() if self._claim(run_id))
        # What the worker gave up or stopped, and why.
        self.stopped: list[str] = []
        hands = LeasedRuns(
            held=lambda: self.held,
            pending=frozenset,
            stop_run=lambda run_id, reason: self.stopped.append(f"{run_id}: {reason}"),
            cancel=lambda run_id, _grace_s: self.stopped.append(f"{run_id}: cancelled"),
            give_up=lambda run_id: self.stopped.append(f"{run_id}: given up"),
        )
        self.leases = Leases(self.database, "w/1", hands, self.clocks.steady)
        self.worker_lives = True

    def _set_clock(self, connection: Any, _: object) -> None:
        connection.create_function("julianday", 1, self.clocks.julian_day)

    def _prestage(self, name: str) -> None:
        site = {
            "name": name,
            "software_version": "22.12",
            "management-state": "managed",
            "availability-status": "online",
            "external_oam_floating_address": "10.10.10.2",
        }
        sealed = Sealer(b"k" * 32).seal("pw", bound_to=name)
        prestage = Command(id=name, type=CommandType.SUBCLOUD_PRESTAGE, subject=name, sealed_password=sealed)
        for command in (Command(type=CommandType.SUBCLOUD_ADD, data=site), prestage):
            assert self.coordinator.execute(command).status == 200

    def _run_ids(self) -> list[int]:
        with self.database.write() as connection:
            return list(connection.execute(select(runs.c.id)).scalars())

    def _claim(self, run_id: int) -> bool:
        at = datetime.now(UTC)
        with self.database.write() as connection:
            return bool(claim_runs(UnitOfWork(connection, at), [run_id], "w/1"))

    def states(self) -> list[tuple[str, str | None]]:
        """Return state and outcome of the runs that the worker took."""
        with self.database.write() as connection:
            rows = connection.execute(select(runs.c.state, runs.c.outcome).where(runs.c.id.in_(self.held)))
            return [(row.state, row.outcome) for row in rows]

    def live(self, second: int) -> None:
        """Let one second pass: `second` is its number."""
        self.clocks.steady_s += 1.0
        if self.worker_lives and second % RENEWAL_S == 0:
            self.leases.renew()
        if self.worker_lives and second % WATCH_S == 0:
            self.leases.watch()
        if second % RECONCILE_S == 0:
            self.coordinator.coordinate()


@pytest.fixture
def new_fleet(tmp_path: Path) -> Iterator[Callable[[], Fleet]]:
    """Give a function that makes a fleet."""
    made: list[Fleet] = []

    def make() -> Fleet:
        made.append(Fleet(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for fleet in made:
        fleet.database.close()


def jumps(moments: Random) -> dict[int, float]:
    """Return second → how far the clock jumps in it: forth and back, in any order, never far from true time."""
    seconds = sorted(moments.sample(range(1, LIFE_S), 8))
    there = [moments.choice([HOUR_S, -HOUR_S]) for _ in seconds[::2]]
    return dict(zip(seconds, (jump for pair in there for jump in (pair, -pair)), strict=True))


@pytest.mark.timeout(600)
def test_a_jump_of_the_clock_takes_no_lease(new_fleet: Callable[[], Fleet]) -> None:
    """Whenever the clock jumps by an hour, forth or back, the runs of a living worker stay its own."""
    moments = seeded()
    for _ in range(scaled(3, 25)):
        fleet, when = new_fleet(), jumps(moments)
        for second in range(LIFE_S):
            fleet.clocks.jumped_s += when.get(second, 0.0)
            fleet.live(second)

        assert [("running", None)] * SITES == fleet.states(), when
        assert [] == fleet.stopped, when


@pytest.mark.timeout(600)
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_a_dead_worker_is_noticed_across_a_jump(new_fleet: Callable[[], Fleet], jump_s: float) -> None:
    """A worker that died is noticed within a minute, also if the clock jumps right then: its runs are tried again."""
    moments = seeded()
    for _ in range(scaled(2, 10)):
        fleet = new_fleet()
        dies_at = moments.randrange(20, 60)
        jumps_at = dies_at + moments.randrange(-10, 10)
        for second in range(dies_at + NOTICED_S + 1):
            fleet.worker_lives = second < dies_at
            fleet.clocks.jumped_s = jump_s if second >= jumps_at else 0.0
            fleet.live(second)

        assert [("finished", "lost")] * SITES == fleet.states(), (dies_at, jumps_at)


class SilentChild:
    """A child process whose playbook goes on until it is told to stop."""

    exit_code = 0

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def say(self, order: Order) -> None:
        """Take an order."""
        if isinstance(order, Stop):
            self._told.set()

    async def reports(self) -> AsyncIterator[Report]:
        """Report the end after the order to stop."""
        await self._told.wait()
        yield Ended(outcome=RunOutcome.LOST, details="", facts={})

    def kill(self) -> None:
        """Do nothing: it stops when it is told to."""


async def run_for(deadline_s: float, real_s: float) -> RunOutcome | None:
    """Host a playbook that never ends; return how it had ended after `real_s` seconds, None if it goes on."""
    child = SilentChild()

    async def take() -> SilentChild:
        return child

    async def dispose(*_: object, **__: object) -> None:
        return None

    job = PlaybookJob(
        run_id=1,
        playbook=Path("p.yml"),
        host="h",
        host_vars={},
        secrets={},
        extra_vars={},
        deadline_s=deadline_s,
    )
    pool = cast(ChildPool, SimpleNamespace(take=take, dispose=dispose))
    running = asyncio.create_task(RunSession(job, stop_grace_s=0.1).run(pool))
    done, _ = await asyncio.wait([running], timeout=real_s)
    running.cancel()
    return running.result().outcome if done else None


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
async def test_deadlines_do_not_see_the_wall_clock(monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    """A jump by an hour neither ends a run that has half an hour left nor spares one whose time is over."""
    real = time.time
    beginning = real()
    monkeypatch.setattr("time.time", lambda: real() + (jump_s if real() > beginning + 0.1 else 0.0))

    assert await run_for(HOUR_S / 2, real_s=0.4) is None
    assert await run_for(0.2, real_s=10.0) is RunOutcome.FAILED
