"""SSH servers of sites with keys of our choice, and an installation that prestages the sites."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import decompress

import asyncssh
from sqlalchemy import select

from cli.inventory_import.reading import read_fleet
from cli.inventory_import.registering import ImportRules, register
from db.database import Database
from db.host_keys import forget_host_keys, give_host_keys
from db.inventory import find_subcloud
from db.schema import events, steps, subclouds
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType
from messages.host_keys import parse_host_keys
from runner.fake import FakeRunEnd, FakeRunner
from runner.interface import OnFinished, PlaybookJob
from service.settings import Settings
from service.wiring import Process, build
from tests.support.migrated_database import place_migrated
from tests.support.waiting import wait_for

END_S = 60.0


@dataclass
class LoginLog:
    """What clients told a server."""

    users: list[str] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)


class _Server(asyncssh.SSHServer):
    """Lets nobody in and remembers every password."""

    def __init__(self, log: LoginLog) -> None:
        self._log = log

    def begin_auth(self, username: str) -> bool:
        """Note who comes."""
        self._log.users.append(username)
        return True

    def password_auth_supported(self) -> bool:
        """Ask for a password."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """Note the password and refuse it."""
        self._log.passwords.append(password)
        return False


@dataclass
class SshServerThread:
    """SSH servers in a thread of their own; each may be exchanged for another at the same port."""

    loop: asyncio.AbstractEventLoop
    acceptors: dict[int, asyncssh.SSHAcceptor] = field(default_factory=dict)

    def listen(self, *keys: asyncssh.SSHKey, port: int = 0, host: str = "127.0.0.1") -> tuple[int, LoginLog]:
        """Serve with these host keys; return the port, and what clients will tell the server."""
        return self._do(self._listen(keys, host, port))

    def end(self, port: int) -> None:
        """Stop listening at a port."""
        self._do(self._end(port))

    def exchange(self, port: int, *keys: asyncssh.SSHKey) -> LoginLog:
        """Have a server with other keys listen at the port."""
        self.end(port)
        return self.listen(*keys, port=port)[1]

    async def _listen(self, keys: Sequence[asyncssh.SSHKey], host: str, port: int) -> tuple[int, LoginLog]:
        log = LoginLog()
        acceptor = await asyncssh.listen(
            host, port, server_factory=lambda: _Server(log), server_host_keys=list(keys), reuse_address=True
        )
        self.acceptors[acceptor.get_port()] = acceptor
        return acceptor.get_port(), log

    async def _end(self, port: int) -> None:
        acceptor = self.acceptors.pop(port)
        acceptor.close()
        await acceptor.wait_closed()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(END_S)


@contextmanager
def ssh_servers() -> Iterator[SshServerThread]:
    """Give servers until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = SshServerThread(loop)
    try:
        yield servers
    finally:
        for port in list(servers.acceptors):
            servers.end(port)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(END_S)
        loop.close()


def new_key(kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
    """Return a new private key."""
    return asyncssh.generate_private_key(kind)


def line_of(key: asyncssh.SSHKey) -> str:
    """Return the public key as `known_hosts` has it, without a host."""
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


class Prestager:
    """A started installation whose playbooks are pretended, unless Ansible shall run them."""

    def __init__(self, directory: Path, *, with_ansible: bool = False, **settings: Any) -> None:
        self.jobs: list[PlaybookJob] = []
        # Called when a playbook is started.
        self.on_job: Callable[[], None] = lambda: None
        if "database_url" not in settings:
            place_migrated(directory / "prestager.db")
        given = {
            "release": "23.09",
            "data_dir": directory,
            "deploy_dir": directory / "deploy",
            "feed_dir": directory / "feed",
            "site_connect_timeout_s": 5,
            **settings,
        }
        self.settings = Settings(**given)
        self.installation: Process = build(self.settings, runner_factory=None if with_ansible else self._pretending)
        self.database: Database = self.installation.database
        self.installation.lifecycle.start()
        self._transport = self.installation.messaging.command_transport(END_S)

    def _pretending(self, done: OnFinished) -> FakeRunner:
        def decide(job: PlaybookJob) -> FakeRunEnd:
            self.jobs.append(job)
            self.on_job()
            return FakeRunEnd(delay_s=0.002)

        return FakeRunner(slots=8, on_finished=done, decide=decide)

    @property
    def now(self) -> datetime:
        """Return the moment that changes are stamped with."""
        return datetime.now(UTC)

    @staticmethod
    def unpacked(content: bytes) -> str:
        """Return kept output as it was."""
        return decompress(content).decode()

    def stop(self) -> None:
        """Stop the installation."""
        self.installation.lifecycle.stop()
        self.database.close()

    def ask(self, kind: CommandType, subject: str | None = None, *, admin: bool = True, **data: Any) -> Answer:
        """Send a command as an administrator, or as a configurator."""
        command = Command(type=kind, subject=subject, data=data, by_administrator=admin or None)
        sealed = self.installation.sealer.seal("Li69nux*", bound_to=command.id)
        answer = asyncio.run(self._transport.request(command.model_copy(update={"sealed_password": sealed})))
        assert answer.status == 200, answer.detail
        return answer

    def add(self, name: str, port: int, *, host: str = "127.0.0.1", **connection: Any) -> None:
        """Import a site that listens at a port of an address, or have it listen there from now on."""
        variables = {
            "ansible_host": host,
            "ansible_port": port,
            "prestager_oam_address": "127.0.0.1" if host.endswith(".invalid") else host,
            "prestager_management_state": "managed",
            "prestager_availability_status": "online",
            **connection,
        }
        rules = ImportRules(default_version="22.12", update=True, dry_run=False)
        done = register(self.database, read_fleet({name: variables}), rules)
        assert [] == done.faults

    def change(self, name: str, *, admin: bool = True, **fields: Any) -> None:
        """Change a site over the API."""
        self.ask(CommandType.SUBCLOUD_UPDATE, name, admin=admin, **fields)

    def prestage(self, name: str) -> tuple[str, str]:
        """Prestage a site by itself; return the state that its step comes to, and why."""
        self.begin(name)
        return self.ended(name)

    def begin(self, name: str) -> None:
        """Begin to prestage a site by itself."""
        self.ask(CommandType.SUBCLOUD_PRESTAGE, name)

    def ended(self, name: str) -> tuple[str, str]:
        """Return the state that the newest step of a site comes to, and why."""
        wait_for(lambda: self.last_step(name)["finished_at"], END_S)
        step = self.last_step(name)
        return step["state"], step["details"]

    def last_step(self, name: str) -> dict[str, Any]:
        """Return the newest step of a site."""
        query = select(steps).where(steps.c.subcloud_name == name).order_by(steps.c.id.desc()).limit(1)
        return self._row(query)

    def site(self, name: str) -> dict[str, Any]:
        """Return the row of a site."""
        return self._row(select(subclouds).where(subclouds.c.name == name))

    def key_events(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return what was told of host keys: what happened, of which site, and its data."""
        prefix = "subcloud.host-key-"
        query = select(events).where(events.c.type.startswith(prefix)).order_by(events.c.id)
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [(row["type"].removeprefix(prefix), row["subject"], row["data"]) for row in rows]

    def _row(self, query: Any) -> dict[str, Any]:
        with self.database.read() as connection:
            return dict(connection.execute(query).mappings().one())


Start = Callable[..., Prestager]
DONE = ("complete", "")


def described(text: str) -> str:
    """Return a key as people see it."""
    return parse_host_keys(text)[0].description


def forget(prestager: Prestager, name: str) -> None:
    """Forget the keys of a site, as the command does."""
    with unit_of_work(prestager.database, prestager.now) as work:
        row = find_subcloud(work.connection, name)
        assert row is not None
        assert forget_host_keys(work, row)


def give(prestager: Prestager, name: str, *lines: str) -> None:
    """Record keys of a site, as the command does."""
    with unit_of_work(prestager.database, prestager.now) as work:
        row = find_subcloud(work.connection, name)
        assert row is not None
        assert give_host_keys(work, row, parse_host_keys("\n".join(lines)))
