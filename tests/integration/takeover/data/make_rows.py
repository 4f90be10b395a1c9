"""Write the rows of an installation in the middle of its work, and the messages that its broker holds, as JSON.

Run by the program whose rows are wanted: in a checkout of that version, with its packages installed,
`PYTHONPATH=. python make_rows.py DIRECTORY`. The files of this directory are those of revision 0011 of the schema, made
by the last version before the packages were restructured. Secrets are sealed with the key `k` 32 times.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dramatiq import Message
from sqlalchemy import select
from tests.integration.actors.coordinator_house import House

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from broker.amqp.dramatiq_broker import outgoing
from db.database import Database
from db.encryption import Sealer
from db.migrate import upgrade
from db.runs import Report, claim, finish
from db.schema import metadata, outbox, preparations, runs, steps
from db.unit_of_work import Journal
from messages.queues import QUEUE_OF
from sites.inspector import DeclaredInspector
from statemachine.states import RunOutcome

OWNER = "worker1@old/1"
PHASES = ["prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"]
# Where each site is: the phase, and how its run stands.
PLACES = {
    f"{name}-{state}": (phase, state)
    for name, phase in (("precheck", 0), ("prepare", 1), ("packages", 2), ("images", 3))
    for state in ("queued", "running", "finished")
} | {"complete": (4, ""), "failed": (2, "failed")}


def version_of(name: str) -> str:
    """Return what a site runs: a release of its own for those whose preparation is in the middle."""
    return {"prepare-queued": "22.11", "prepare-running": "22.10", "prepare-finished": "22.09"}.get(name, "22.12")


class Installation:
    """The coordinator of one installation, and the worker that the program pretends to be."""

    def __init__(self, directory: Path) -> None:
        self.database = Database(f"sqlite:///{directory}/prestager.db")
        upgrade(self.database)
        coordinator = Coordinator(self.database, DeclaredInspector(), CoordinatorRules(release="23.09"), lambda: None)
        self.house = House(database=self.database, coordinator=coordinator, sealer=Sealer(b"k" * 32))

    def take(self, run: dict[str, Any]) -> None:
        """Claim a run."""
        at = datetime.now(UTC)
        journal = Journal(at)
        with self.database.write() as connection:
            assert claim(connection, journal, run["id"], OWNER, at)
            journal.write(connection)

    def end(self, run: dict[str, Any], name: str, outcome: RunOutcome = RunOutcome.SUCCEEDED) -> None:
        """Claim a run and report its end."""
        self.take(run)
        read = {"from_version": version_of(name), "oam_address": "10.10.10.2"} if run["phase"] == PHASES[0] else {}
        details = "The disk is full." if outcome is RunOutcome.FAILED else ""
        report = Report(run_id=run["id"], outcome=outcome, details=details, facts={}, **read)
        journal = Journal(datetime.now(UTC))
        with self.database.write() as connection:
            assert finish(connection, report, OWNER, datetime.now(UTC))
            journal.call("coordinate")
            journal.write(connection)

    def queued(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the runs that wait, each with the name of its site."""
        found = []
        for run in self.house.rows(runs, state="queued"):
            step_id = run["step_id"]
            if step_id is None:
                step_id = self.house.rows(preparations, id=run["preparation_id"])[0]["opened_by_step_id"]
            found.append((self.house.rows(steps, id=step_id)[0]["subcloud_name"], run))
        return found

    def work(self) -> None:
        """Bring each site to its place."""
        for _round in range(20):
            done = 0
            for name, run in self.queued():
                phase, state = PLACES.get(name, (0, "queued"))
                place = PHASES.index(run["phase"])
                is_shared = run["preparation_id"] is not None and version_of(name) == "22.12"
                if place < phase or is_shared:
                    self.end(run, name)
                elif place == phase and state == "failed":
                    self.end(run, name, RunOutcome.FAILED)
                else:
                    continue
                done += 1
            self.house.coordinator.coordinate()
            if not done:
                break
        for name, run in self.queued():
            state = PLACES.get(name, (0, "queued"))[1]
            if state == "running":
                self.take(run)
            elif state == "finished":
                self.end(run, name)

    def write(self, file: Path) -> None:
        """Write all rows, and the messages of the outbox as the broker holds them."""
        with self.database.read() as connection:
            rows = {
                table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
                for table in metadata.sorted_tables
            }
            calls = connection.execute(select(outbox).order_by(outbox.c.id)).all()
        messages = []
        for call in calls:
            arguments = () if call.argument is None else (call.argument,)
            queue = QUEUE_OF[call.actor]
            message = Message(queue_name=queue, actor_name=call.actor, args=arguments, kwargs={}, options={})
            sent = outgoing(message)
            messages.append({"queue": sent.routing_key, "body": sent.body.decode()})
        content = {
            "revision": "0011",
            "rows": {name: found for name, found in rows.items() if found},
            "messages": messages,
        }
        file.write_text(json.dumps(content, indent=1, default=_encoded) + "\n", encoding="utf-8")


def _encoded(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    raise TypeError(type(value).__name__)


def main(directory: Path) -> None:
    """Write one file of a strategy that is being applied and one of a strategy that is being aborted."""
    for kind in ("applying", "aborting"):
        with TemporaryDirectory() as data:
            installation = Installation(Path(data))
            for name in (*PLACES, "not-started"):
                added = installation.house.add_site(name, software_version=version_of(name))
                assert added.status == 200, added.detail
            created = installation.house.create(
                **{"max-parallel-subclouds": len(PLACES), "subcloud-apply-type": "parallel"}
            )
            assert created.status == 200, created.detail
            applied = installation.house.verb("apply")
            assert applied.status == 200, applied.detail
            installation.work()
            if kind == "aborting":
                assert installation.house.verb("abort").status == 200
            installation.write(directory / f"{kind}.json")
            found = [(row["subcloud_name"], row["state"], row["stage"]) for row in installation.house.rows(steps)]
            print(kind, *found, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
