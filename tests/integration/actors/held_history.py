"""Random commands about a held strategy, staged or not, while workers and coordinators are at work on its database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random
from threading import Event, Lock, Thread
from typing import Any, Final

from sqlalchemy import Row, and_, func, or_, select

from db.claims import claim_runs
from db.errors import DatabaseUnavailableError
from db.runs import RunResult, finish_runs, hand_back
from db.schema import runs, steps, strategies
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType
from statemachine.rollout import HoldScope
from statemachine.states import RunOutcome, RunState, StepState
from tests.support.installation import Installation
from tests.support.waiting import wait_for

SITES: Final = tuple("abcdefgh")
WORKERS: Final = 2
WIDEST: Final = 4
_ENDS: Final = frozenset({"complete", "failed", "aborted"})
_REST_S: Final = 120.0
# Of one worker between two looks at the queue, in seconds.
_PAUSE_S: Final = 0.002


class HeldHistory:
    """A strategy with a sliding window that is held, changed and cancelled at random; each command is one operation.

    Args:
        houses: Coordinators over one database, which has the sites.

        seed: Of the commands; what workers do between them also depends on the moment.
    """

    def __init__(self, houses: list[Installation], seed: int) -> None:
        self._houses = houses
        self._random = Random(seed)
        self._is_over = Event()
        self._faults: list[BaseException] = []
        self._lock = Lock()
        self._wanted: set[int] = set()
        self._width = 1 + self._random.randrange(WIDEST)
        self._luck = self._random.choice([0.98, 0.9, 0.7])
        self.story: list[str] = [f"seed {seed}, width {self._width}"]

    def play(self, commands: int) -> None:
        """Create, apply, let `commands` happen, end all holds and wait for the end of the strategy."""
        rollout = {
            "mode": "window",
            "on-budget": self._random.choice(["pause", "stop"]),
            "on-prepare-failure": self._random.choice(["fail", "pause"]),
            **({"max-failures": self._random.randrange(3)} if self._random.random() < 0.5 else {}),
            **({"ramp": {"start": 1}} if self._random.random() < 0.3 else {}),
        }
        if self._random.random() < 0.6:
            rollout["stages"] = self._stages(may_fail=rollout["on-budget"] == "stop")
        options = {"max-parallel-subclouds": self._width, "rollout": rollout}
        assert 200 == self._house.create(**options).status
        assert 200 == self._verb("apply").status
        with self._workers():
            for _ in range(commands):
                self._random.choice(
                    [self._pause, self._pause, self._hold_site, self._change, self._first, self._cancel, self._decide]
                )()
                self._check_places()
                self._check_stages()
                if self._state() in _ENDS:
                    break
            self._let_go()
            wait_for(self._has_ended, _REST_S, lambda: "\n".join(self.story))
        assert [] == self._faults

    def _stages(self, *, may_fail: bool) -> list[dict[str, Any]]:
        """Return two stages that soak, have a gate, or bear no failure; those of no name come after them."""
        stages: list[dict[str, Any]] = []
        for name in ("canary", "wave"):
            stage = {"name": name, "count": 2, "soak-s": self._random.choice([None, 1])}
            stage["gate"] = self._random.choice([None, "approval"])
            stage["max-failures"] = None if may_fail else self._random.choice([None, 0])
            stages.append({key: value for key, value in stage.items() if value is not None})
        return stages

    @property
    def _house(self) -> Installation:
        return self._random.choice(self._houses)

    def _verb(self, name: str, **data: Any) -> Answer:
        return self._ask(CommandType(f"strategy.{name}"), None, data)

    def _ask(self, kind: CommandType, site: str | None, data: dict[str, Any]) -> Answer:
        answer = self._house.execute(Command(type=kind, subject=site, data=data, requested_by="alice"))
        self.story.append(f"{kind} {site or ''} {data} → {answer.status} {answer.detail or ''}")
        assert answer.status in {200, 422}, self.story
        return answer

    def _pause(self) -> None:
        """Pause; until the resume, nothing that the hold covers begins."""
        scope = self._random.choice(list(HoldScope))
        if self._verb("pause", scope=scope).status != 200:
            return
        before = self._begun()
        self._rest()
        if self._random.random() < 0.5:
            self._random.choice([self._first, self._change, self._cancel])()
        self._check_held(before, scope)
        if self._random.random() < 0.8:
            self._resume()

    def _resume(self) -> None:
        data = self._random.choice([{}, {"allow-failures": self._random.randrange(2)}])
        self._verb("resume", **data)

    def _hold_site(self) -> None:
        """Hold a site; until it is released, none of its runs begins."""
        site = self._random.choice(SITES)
        if self._ask(CommandType.STEP_HOLD, site, {"held": True}).status != 200:
            return
        before = self._begun()
        self._rest()
        self._check_held(before, HoldScope.PHASES, site)
        self._ask(CommandType.STEP_HOLD, site, {"held": False})

    def _change(self) -> None:
        """Change the width; a smaller one stops nothing."""
        width = 1 + self._random.randrange(WIDEST)
        if self._verb("update", **{"max-parallel-subclouds": width}).status == 200:
            with self._lock:
                self._width = width

    def _first(self) -> None:
        self._ask(CommandType.STEP_FIRST, self._random.choice(SITES), {})

    def _cancel(self) -> None:
        """Cancel one site, rarely the strategy."""
        if self._random.random() < 0.9:
            self._ask(CommandType.STEP_CANCEL, self._random.choice(SITES), {"grace-s": 0})
        else:
            self._verb(self._random.choice(["cancel", "abort"]))

    def _decide(self) -> None:
        """Approve what comes after a stage, whatever it is at; rarely deny it."""
        kind = CommandType.STRATEGY_DENY if self._random.random() < 0.05 else CommandType.STRATEGY_APPROVE
        data = {"stage": self._random.choice(["canary", "wave"])}
        answer = self._house.execute(Command(type=kind, data=data, requested_by="bob"))
        self.story.append(f"{kind} {data} → {answer.status} {answer.detail or ''}")
        assert answer.status in {200, 422}, self.story

    def _check_stages(self) -> None:
        """Check that no run of a stage has begun before the stages before it are passed, each gate by a decision."""
        # First the runs: what they need was written before them.
        begun = [row.stage for row in self._runs() if row.started_at is not None]
        stages = self._houses[0].rows(strategies)[-1]["rollout"].get("stages") or ()
        open_ones = [one["stage"] for one in stages if one["passed-at"] is None and one["stage"] is not None]
        assert max(begun, default=0) <= min(open_ones, default=len(SITES)), self.story
        assert all("decision" in one for one in stages if one.get("gate") and one["passed-at"]), self.story

    def _let_go(self) -> None:
        for site in SITES:
            self._ask(CommandType.STEP_HOLD, site, {"held": False})

    def _rest(self) -> None:
        Event().wait(self._random.uniform(0.0, 0.03))

    def _state(self) -> str:
        return str(self._houses[0].rows(strategies)[-1]["state"])

    def _has_ended(self) -> bool:
        """Resume and approve whatever holds it, now and again: a budget, a preparation or a gate may hold it later."""
        if self._faults:
            raise self._faults[0]
        if self._state() in _ENDS:
            return True
        if self._verb("resume", **{"allow-failures": len(SITES)}).status == 422:
            self._verb("resume")
        for stage in ("canary", "wave"):
            self._house.execute(Command(type=CommandType.STRATEGY_APPROVE, data={"stage": stage}, requested_by="bob"))
        self._houses[0].coordinator.coordinate()
        self._check_stages()
        return False

    def _begun(self) -> set[int]:
        """Return the runs that a worker has claimed, or was about to claim: it may hand one back and claim it again."""
        with self._lock:
            wanted = set(self._wanted)
        return wanted | {row.id for row in self._runs() if row.started_at is not None}

    def _check_held(self, begun: set[int], scope: str, site: str | None = None) -> None:
        """Check that of what a hold covers nothing has been claimed but `begun`; `site` is the only one it covers."""
        rows = self._runs()
        old_sites = {row.subcloud_name for row in rows if row.id in begun}
        new = [row for row in rows if row.started_at is not None and row.id not in begun]
        covered = [
            row
            for row in new
            if (scope == HoldScope.PHASES or row.subcloud_name not in old_sites) and site in {None, row.subcloud_name}
        ]
        assert [] == covered, self.story

    def _runs(self) -> Sequence[Row[Any]]:
        """Return the runs of sites."""
        columns = (steps.c.subcloud_name, steps.c.stage, runs.c.id, runs.c.started_at)
        query = select(*columns).join(steps, steps.c.id == runs.c.step_id)
        with self._houses[0].database.read() as connection:
            return connection.execute(query).all()

    def _check_places(self) -> None:
        """Check that no more are in flight than any width of the moment allows: one statement is one moment."""
        in_flight = or_(steps.c.run_id.is_not(None), steps.c.preparing)
        with self._houses[0].database.read() as connection:
            number = connection.execute(
                select(func.count()).where(and_(in_flight, steps.c.finished_at.is_(None)))
            ).scalar_one()
        assert number <= WIDEST, self.story

    @contextmanager
    def _workers(self) -> Iterator[None]:
        threads = [Thread(target=self._work, args=(f"worker/{number}", number)) for number in range(WORKERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            for thread in threads:
                thread.join()

    def _work(self, owner: str, number: int) -> None:
        random = Random(f"{self.story[0]}-{number}")
        house = self._houses[number % len(self._houses)]
        try:
            while not self._is_over.wait(_PAUSE_S):
                # A deadlock with a command: workers try again, too.
                with suppress(DatabaseUnavailableError):
                    self._work_once(house, owner, random)
        except BaseException as error:  # noqa: BLE001 - the history raises it
            self._faults.append(error)

    def _work_once(self, house: Installation, owner: str, random: Random) -> None:
        queued = house.queued()
        if queued:
            chosen = random.sample(queued, min(2, len(queued)))
            with self._lock:
                self._wanted.update(chosen)
            with unit_of_work(house.database) as work:
                claim_runs(work, chosen, owner)
        for run in house.rows(runs, state=RunState.RUNNING, owner=owner):
            if random.random() < 0.3:
                continue
            with unit_of_work(house.database) as work:
                if random.random() < 0.1:
                    hand_back(work.connection, [run["id"]], owner)
                else:
                    finish_runs(work.connection, [self._report(run, random)], owner, work.at)
        assert house.coordinator is not None
        house.coordinator.coordinate()

    def _report(self, run: dict[str, Any], random: Random) -> RunResult:
        is_precheck = run["phase"] == StepState.PRECHECK
        outcome = RunOutcome.SUCCEEDED
        if run["cancel_requested"]:
            outcome = random.choice([RunOutcome.CANCELLED, RunOutcome.SUCCEEDED, RunOutcome.FAILED])
        elif random.random() > self._luck:
            outcome = random.choice([RunOutcome.FAILED, RunOutcome.LOST])
        passed = is_precheck and outcome == RunOutcome.SUCCEEDED
        found = {"from_version": random.choice(["22.12", "22.06"]), "oam_address": "10.10.10.2"} if passed else {}
        return RunResult(run_id=run["id"], outcome=outcome, details="it broke", facts={}, **found)
