"""Installations that tests drive: commands in, rows out.

`Installation.of_coordinator` starts nothing and carries commands out at once. `Installation.embedded` and
`Installation.over_rabbitmq` start all parts in this process, with playbooks that only pretend.
`Installation.as_processes` has real processes and real playbooks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, Self, TypeVar
from zlib import decompress

from sqlalchemy import select

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from broker.amqp.command_transport import AmqpTransport
from db.claims import claim_runs
from db.database import Database
from db.encryption import Sealer
from db.schema import events, outbox, run_outputs, runs, steps, strategies, subclouds
from db.unit_of_work import UnitOfWork
from messages.commands import Answer, Command, CommandType
from runner.interface import OnFinished, Runner
from service import wiring
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from sites.inspector import DeclaredInspector
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.imported_sites import import_sites
from tests.support.installation_processes import InstallationProcesses, new_installation
from tests.support.migrated_database import place_migrated
from tests.support.waiting import wait_for

# The process that the tests stand for.
OWNER = "worker/1"
# Longest wait for an answer, in seconds, generous for a busy machine.
ANSWER_S = 30.0
ALL_STATES = [
    "prestage-precheck",
    "prestage-prepare",
    "prestaging-packages",
    "prestaging-images",
    "complete",
]

T = TypeVar("T")


class Installation:
    """Commands and rows of one installation; `coordinator` carries the commands out."""

    def __init__(self, database: Database, coordinator: Coordinator | None, sealer: Sealer) -> None:
        self.database = database
        self.coordinator = coordinator
        self.sealer = sealer

    @classmethod
    def of_coordinator(cls, database_url: str) -> Self:
        """Return a coordinator whose controller runs 23.09 over a migrated database; nothing is started."""
        database = Database(database_url)
        coordinator = Coordinator(database, DeclaredInspector(), CoordinatorRules(release="23.09"))
        return cls(database, coordinator, Sealer(b"k" * 32))

    @staticmethod
    def embedded(directory: Path, **options: Any) -> StartedInstallation:
        """Return a started installation without a broker; `options` are those of `StartedInstallation`."""
        return StartedInstallation(directory, None, **options)

    @staticmethod
    def over_rabbitmq(directory: Path, url: str, **options: Any) -> StartedInstallation:
        """Return a started process of an installation over the broker at `url`."""
        return StartedInstallation(directory, url, **options)

    @staticmethod
    def as_processes(directory: Path, **settings: object) -> InstallationProcesses:
        """Return an installation of processes, none of which is started; the schema and an admin's token are made."""
        return new_installation(directory, **settings)

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
        assert self.coordinator is not None
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


def claimed(installation: Installation, owner: str = OWNER) -> int:
    """Return a run that `owner` holds."""
    installation.add_site("a")
    installation.create()
    installation.verb("apply")
    (run_id,) = installation.queued()
    at = datetime.now(UTC)
    with installation.database.write() as connection:
        assert claim_runs(UnitOfWork(connection, at), [run_id], owner)
    return run_id


class LoopThread:
    """An event loop that runs in a thread, for what is asynchronous."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for the result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S * 2)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        self._loop.close()


class StartedInstallation(Installation):
    """The parts of an installation that `roles` names, started in this process; commands go through the transport.

    Args:
        directory: Its data, and the directories of releases beside.

        url: The broker's; None: embedded.

        roles: Which parts are started.

        playbooks: How playbooks pretend to end; by default all succeed.

        slots: How many playbooks may run at once.

        runner_factory: Makes another runner than the pretended one.

        with_ansible: Ansible runs the playbooks.

        whole_settings: Settings to use as they are, in the place of those that the other arguments make.

        settings: Fields of `Settings`. Without `database_url` the database is a migrated file in `directory`.
    """

    def __init__(
        self,
        directory: Path,
        url: str | None,
        *,
        roles: frozenset[ProcessRole] = ALL_ROLES,
        playbooks: FakePlaybooks | None = None,
        slots: int = 50,
        runner_factory: Callable[[OnFinished], Runner] | None = None,
        with_ansible: bool = False,
        whole_settings: Settings | None = None,
        **settings: Any,
    ) -> None:
        self.playbooks = playbooks or FakePlaybooks()
        self.settings = whole_settings or self._settings(directory, url, settings)

        def pretend(on_finished: OnFinished) -> Runner:
            return self.playbooks.runner(slots, on_finished)

        self.process = wiring.build(self.settings, roles, None if with_ansible else runner_factory or pretend)
        super().__init__(self.process.database, None, self.process.sealer)
        self.loop = LoopThread()
        self.transport = self.process.messaging.command_transport(ANSWER_S)
        self.process.lifecycle.start()
        self._stopped = False

    @staticmethod
    def _settings(directory: Path, url: str | None, changes: dict[str, Any]) -> Settings:
        given = {
            "release": "23.09",
            "host_keys": "ignore",
            "deploy_dir": directory / "deploy",
            "feed_dir": directory / "feed",
            **changes,
        }
        if "database_url" not in given:
            # The file of an embedded database.
            place_migrated(directory / "prestager.db")
        return Settings(data_dir=directory, broker_url=url, **given)  # type: ignore[arg-type]

    def execute(self, command: Command) -> Answer:
        """Send a command through the transport and wait for the answer."""
        return self.loop.do(self.transport.request(command))

    def stop(self) -> None:
        """Stop in good order. Repeating it does nothing."""
        if self._stopped:
            return
        self._stopped = True
        if isinstance(self.transport, AmqpTransport):
            self.loop.do(self.transport.close())
        self.loop.close()
        self.process.lifecycle.stop()
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

    def upload_image_list(self, release: str = "23.09") -> Path:
        """Give a release an image list and return its file."""
        path = self.settings.deploy_dir / release / "prestage_images_list.txt"
        path.parent.mkdir(parents=True)
        path.write_text("oci:images/a\n")
        return path
