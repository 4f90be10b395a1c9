"""A coordinator over a real SQLite database, driven without messages; shared by the tests of its commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from actors.coordinator.coordinator import Coordinator
from db.database import Database
from db.encryption import Sealer
from db.runs import claim
from db.schema import outbox, runs, steps, strategies, subclouds
from db.unit_of_work import UnitOfWork
from messages.commands import Answer, Command, CommandType
from tests.support.imported_sites import import_sites

# The process that the tests stand for.
OWNER = "worker/1"


@dataclass
class House:
    """One installation without workers: commands in, rows out."""

    database: Database
    coordinator: Coordinator
    sealer: Sealer

    def ask(self, kind: CommandType, *, subject: str | None = None, password: str | None = "pw", **data: Any) -> Answer:
        """Carry a command out, with a sealed password."""
        command = Command(type=kind, subject=subject, data=data)
        if password is None:
            command = command.model_copy(update={"password_fault": "missing"})
        else:
            sealed = self.sealer.seal(password, bound_to=command.id)
            command = command.model_copy(update={"sealed_password": sealed})
        return self.execute(command)

    def execute(self, command: Command) -> Answer:
        """Carry a command out."""
        return self.coordinator.execute(command)

    def create(self, **data: Any) -> Answer:
        """Ask for a prestage strategy."""
        return self.ask(CommandType.STRATEGY_CREATE, **{"type": "prestage", **data})

    def verb(self, verb: str, kind: str | None = "prestage") -> Answer:
        """Apply, abort or delete the strategy."""
        return self.ask(CommandType(f"strategy.{verb}"), type=kind)

    def add_site(self, name: str, *, connection: dict[str, Any] | None = None, **data: Any) -> Answer:
        """Add a managed, online simplex site that runs 22.12, with connection variables of the operator's import."""
        given = {
            "name": name,
            "software_version": "22.12",
            "management-state": "managed",
            "availability-status": "online",
            "external_oam_floating_address": "10.10.10.2",
            **data,
        }
        added = self.ask(CommandType.SUBCLOUD_ADD, **given)
        if connection:
            import_sites(self.database, {name: connection})
        return added

    def add_group(self, name: str, apply_type: str = "parallel", width: int = 2) -> Answer:
        """Add a subcloud group."""
        return self.ask(
            CommandType.GROUP_CREATE,
            name=name,
            description=name,
            update_apply_type=apply_type,
            max_parallel_subclouds=width,
        )

    def rows(self, table: Any, **where: Any) -> list[dict[str, Any]]:
        """Return rows of a table in id order."""
        query = select(table).order_by(table.c.id).filter_by(**where)
        with self.database.read() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def stages(self) -> list[tuple[str, int]]:
        """Return (subcloud, stage) of all steps of the newest strategy."""
        newest = self.rows(strategies)[-1]["id"]
        return [(row["subcloud_name"], row["stage"]) for row in self.rows(steps, strategy_id=newest)]

    def step(self, name: str) -> dict[str, Any]:
        """Return the newest step of a subcloud."""
        return self.rows(steps, subcloud_name=name)[-1]

    def site(self, name: str) -> dict[str, Any]:
        """Return a subcloud."""
        return self.rows(subclouds, name=name)[0]

    def queued(self) -> list[int]:
        """Return the runs that wait for a worker."""
        return [row["id"] for row in self.rows(runs, state="queued")]

    def messages(self) -> list[tuple[str, int | None]]:
        """Return what is in the outbox."""
        return [(row["actor"], row["argument"]) for row in self.rows(outbox)]


def claimed(house: House, owner: str = OWNER) -> int:
    """Return a run that `owner` holds."""
    house.add_site("a")
    house.create()
    house.verb("apply")
    (run_id,) = house.queued()
    at = datetime.now(UTC)
    with house.database.write() as connection:
        assert claim(UnitOfWork(connection, at), run_id, owner)
    return run_id
