"""An embedded installation with a runner that only pretends: commands in, whole strategies out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any
from zlib import decompress

from sqlalchemy import select

from db.schema import events, run_outputs, runs, steps, strategies
from messages.commands import Answer, Command
from runner.fake import FakeRunEnd, FakeRunner
from runner.interface import OnFinished, Outcome, PlaybookJob
from service.settings import Settings
from service.wiring import Installation, build
from tests.integration.actors.coordinator_house import House
from tests.support.waiting import wait_for

DEADLINE_S = 30.0
PREPARE, PACKAGES, IMAGES = "prepare_prestage_packages", "prestage_sw_packages", "prestage_images"
FAILS = FakeRunEnd(outcome=Outcome.FAILED, details="task 'Take packages' on a: no space left", delay_s=0.002)
LOST = FakeRunEnd(outcome=Outcome.STOPPED, details="stopped")
ALL_STATES = [
    "prestage-precheck",
    "prestage-prepare",
    "prestaging-packages",
    "prestaging-images",
    "complete",
]


class Stage:
    """Decides how pretended playbooks end, and remembers them; answers may be held back."""

    def __init__(self) -> None:
        self.jobs: list[PlaybookJob] = []
        self.most_at_once = 0
        self._ends: dict[tuple[str, str], FakeRunEnd] = {}
        self._lock = Lock()
        self._going_on: set[int] = set()

    def end(self, host: str, playbook: str, end: FakeRunEnd) -> None:
        """Have a playbook of a host end like this from now on."""
        self._ends[host, playbook] = end

    def decide(self, job: PlaybookJob) -> FakeRunEnd:
        """Say how a job ends."""
        with self._lock:
            self.jobs.append(job)
            self._going_on.add(job.run_id)
            self.most_at_once = max(self.most_at_once, len(self._going_on))
        return self._ends.get((job.host, job.playbook.stem), FakeRunEnd(delay_s=0.002))

    def ended(self, run_id: int) -> None:
        """Note that a job ended."""
        with self._lock:
            self._going_on.discard(run_id)

    def played(self, host: str) -> list[str]:
        """Return the playbooks that ran for a host, in order."""
        return [job.playbook.stem for job in self.jobs if job.host == host]


class Rig(House):
    """A started installation; `House` gives the commands and rows."""

    def __init__(self, data_dir: Path, stage: Stage, slots: int = 50, **settings: Any) -> None:
        self.stage = stage
        given = {
            "release": "23.09",
            "host_keys": "ignore",
            "deploy_dir": data_dir / "deploy",
            "feed_dir": data_dir / "feed",
            **settings,
        }
        self.settings = Settings(data_dir=data_dir, **given)
        self.embedded: Installation = build(self.settings, runner_factory=self._runner(slots))
        super().__init__(database=self.embedded.database, coordinator=_NotDirect(), sealer=self.embedded.sealer)
        self.embedded.actors.start(self.embedded.runner)
        self._transport = self.embedded.actors.transport(DEADLINE_S)

    def _runner(self, slots: int) -> Callable[[OnFinished], FakeRunner]:
        def build(on_finished: OnFinished) -> FakeRunner:
            def finished(result: Any) -> None:
                self.stage.ended(result.run_id)
                on_finished(result)

            return FakeRunner(slots=slots, on_finished=finished, decide=self.stage.decide)

        return build

    def execute(self, command: Command) -> Answer:
        """Send a command through the transport."""
        return asyncio.run(self._transport.request(command))

    def stop(self) -> None:
        """Stop the installation."""
        self.embedded.actors.stop()
        self.database.close()

    def state(self) -> str:
        """Return the state of the newest strategy."""
        return str(self.rows(strategies)[-1]["state"])

    def run_strategy(self, **data: Any) -> str:
        """Create and apply a strategy and return the state that it comes to."""
        created = self.create(**data)
        assert created.status == 200, created.detail
        assert self.verb("apply").status == 200
        return self.ending()

    def ending(self) -> str:
        """Wait for the strategy's end and return its state."""
        wait_for(lambda: self.state() in ("complete", "failed", "aborted"))
        return self.state()

    def walk(self, name: str) -> list[str]:
        """Return the states that the subcloud's newest step went through, by the events."""
        subject = f"step/{self.step(name)['id']}"
        return [row["type"].removeprefix("step.prestage.") for row in self.rows(events, subject=subject)]

    def log(self, name: str, phase: str) -> str:
        """Return the kept output of a phase."""
        query = (
            select(run_outputs.c.content)
            .join(runs, runs.c.id == run_outputs.c.run_id)
            .join(steps, steps.c.id == runs.c.step_id)
            .where(steps.c.subcloud_name == name, runs.c.phase == phase)
        )
        with self.database.read() as connection:
            return decompress(connection.execute(query).scalar_one()).decode()


class _NotDirect:
    """Stands where a House has its coordinator; a rig sends through the transport instead."""


def upload_list(rig: Rig, release: str = "23.09") -> Path:
    """Give the target release an image list."""
    path = rig.settings.deploy_dir / release / "prestage_images_list.txt"
    path.parent.mkdir(parents=True)
    path.write_text("oci:images/a\n")
    return path
