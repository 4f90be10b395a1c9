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
from db.host_keys import forget_host_keys, give_host_keys
from db.inventory import find_subcloud
from db.schema import events
from db.unit_of_work import unit_of_work
from messages.commands import Answer, Command, CommandType
from messages.host_keys import parse_host_keys
from runner.fake import FakeRunEnd
from runner.interface import PlaybookJob
from service.settings import Settings
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.waiting import PATIENCE_S, wait_for

END_S = PATIENCE_S


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


class SiteInstallation(StartedInstallation):
    """A started installation that imports, changes and prestages sites over SSH, one by one."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        # Called when a playbook is started.
        self.on_job: Callable[[], None] = lambda: None

        def decide(_job: PlaybookJob) -> FakeRunEnd:
            self.on_job()
            return FakeRunEnd(delay_s=0.002)

        given = {"host_keys": Settings.model_fields["host_keys"].default, "site_connect_timeout_s": 5, **settings}
        super().__init__(directory, None, playbooks=FakePlaybooks(decide), slots=8, **given)

    @property
    def now(self) -> datetime:
        """Return the moment that changes are stamped with."""
        return datetime.now(UTC)

    @staticmethod
    def unpacked(content: bytes) -> str:
        """Return kept output as it was."""
        return decompress(content).decode()

    def ask(self, kind: CommandType, subject: str | None = None, *, admin: bool = True, **data: Any) -> Answer:
        """Send a command as an administrator, or as a configurator."""
        command = Command(type=kind, subject=subject, data=data, by_administrator=admin or None)
        sealed = self.sealer.seal("Li69nux*", bound_to=command.id)
        answer = self.execute(command.model_copy(update={"sealed_password": sealed}))
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
        wait_for(lambda: self.step(name)["finished_at"], END_S)
        step = self.step(name)
        return step["state"], step["details"]

    def key_events(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return what was told of host keys: what happened, of which site, and its data."""
        prefix = "subcloud.host-key-"
        query = select(events).where(events.c.type.startswith(prefix)).order_by(events.c.id)
        with self.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [(row["type"].removeprefix(prefix), row["subject"], row["data"]) for row in rows]


Start = Callable[..., SiteInstallation]
DONE = ("complete", "")


def described(text: str) -> str:
    """Return a key as people see it."""
    return parse_host_keys(text)[0].description


def forget(installation: SiteInstallation, name: str) -> None:
    """Forget the keys of a site, as the command does."""
    with unit_of_work(installation.database, installation.now) as work:
        row = find_subcloud(work.connection, name)
        assert row is not None
        assert forget_host_keys(work, row)


def give(installation: SiteInstallation, name: str, *lines: str) -> None:
    """Record keys of a site, as the command does."""
    with unit_of_work(installation.database, installation.now) as work:
        row = find_subcloud(work.connection, name)
        assert row is not None
        assert give_host_keys(work, row, parse_host_keys("\n".join(lines)))
