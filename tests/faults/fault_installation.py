"""What fault tests share: one installation as real processes that may be hurt; its caller and its checks are beside.

Everything is real: RabbitMQ, PostgreSQL, processes, Ansible. The playbooks write a journal on their site, and
afterwards the database and the journal together tell whether anything was lost, doubled or left behind.
"""

from __future__ import annotations

import os
import random
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Row, select

from db.database import Database
from db.schema import strategies
from tests.support.imported_sites import READY, import_sites
from tests.support.installation_processes import START_S, PartProcess
from tests.support.journal_playbooks import journal_lines, write_playbooks
from tests.support.service_process import ServiceProcess
from tests.support.waiting import BUSY_FACTOR, PATIENCE_S, wait_for

T = TypeVar("T")

# The long form is that of `make faults`.
LONG: Final = os.environ.get("PRESTAGER_FAULT_ROUNDS") == "long"
# Whether workers fork runs from a process that has loaded Ansible; `make faults PRELOAD=false` tries the other way.
PRELOAD: Final = os.environ.get("PRESTAGER_FAULT_PRELOAD", "true")
STRATEGY: Final = "/v1.0/sw-update-strategy"
PASSWORD: Final = b64encode(b"Li69nux*").decode()
# Deadline of a strategy's end, in seconds.
END_S: Final = PATIENCE_S
# A playbook that does nothing at its site is no success.
_QUICK_PLAYBOOK: Final = "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: done}}]\n"


def scaled(short: T, long: T) -> T:
    """Return how much of something to do in this run."""
    return long if LONG else short


def promised(seconds: float) -> float:
    """Return how long something may take for which so many seconds are promised; `make faults` runs alone."""
    return seconds * scaled(BUSY_FACTOR, 1.0)


# Promises: no process of a killed worker's playbooks; commands after broker or database are back.
ORPHAN_S: Final = promised(5.0)
ACCEPTED_AGAIN_S: Final = promised(10.0)


def seeded() -> random.Random:
    """Return randomness whose seed is printed; PRESTAGER_FAULT_SEED gives it back."""
    seed = int(os.environ.get("PRESTAGER_FAULT_SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"seed {seed}: PRESTAGER_FAULT_SEED={seed} repeats it\n")
    return random.Random(seed)


class FaultInstallation:
    """API, coordinator and workers over one broker and one database, with journal-writing playbooks on local sites.

    Args:
        directory: For logs, journal, playbooks.

        database_url: A migrated, empty database; may lead through a proxy.

        broker_url: May lead through a proxy.

        token: Of an administrator.

        seconds: How long each playbook works on its site; None: until `release`.

        workers: Names of the workers.

        settings: PRESTAGER_* settings of all parts.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database_url: str,
        broker_url: str,
        token: str,
        seconds: float | None = 0.5,
        workers: tuple[str, ...] = ("a",),
        **settings: object,
    ) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        self.journal.mkdir()
        # Its existence lets held playbooks end.
        self._go = directory / "go"
        self._write_playbooks(seconds)
        given = {
            "DATABASE_URL": database_url,
            "BROKER_URL": broker_url,
            "SECRET_KEY": b64encode(b"k" * 32).decode(),
            "PLAYBOOKS_DIR": directory / "playbooks",
            "DEPLOY_DIR": directory / "deploy",
            "FEED_DIR": directory / "feed",
            "MAX_ATTEMPTS": 20,
            "COMMAND_TIMEOUT_S": 5,
            "LOG_FORMAT": "text",
            "PRELOAD": PRELOAD,
            **settings,
        }
        self.api = ServiceProcess(directory, **given)
        self.api.token = token
        self.database = Database(database_url)
        names = {"api": ["api"], "coordinator": ["coordinator"], "worker": [f"worker-{name}" for name in workers]}
        self.parts = {name: self._part(kind, name) for kind, all_names in names.items() for name in all_names}

    def _write_playbooks(self, seconds: float | None) -> None:
        directory = self.directory / "playbooks"
        write_playbooks(directory, seconds or 0.2)
        if seconds is None:
            script = directory / "work.sh"
            script.write_text(script.read_text().replace("sleep 0.2", f"until [ -e '{self._go}' ]; do sleep 0.2; done"))
        # Once per strategy, and about another matter.
        (directory / "prepare_prestage_packages.yml").write_text(_QUICK_PLAYBOOK)

    def _part(self, kind: str, name: str) -> PartProcess:
        own_name = f"{self.api.worker}-{name}"
        environment = self.api.environment | {"PRESTAGER_WORKER_NAME": own_name}
        return PartProcess(kind, own_name, environment, self.directory / f"{name}.log")

    @property
    def workers(self) -> list[PartProcess]:
        """All workers."""
        return [part for part in self.parts.values() if part.kind == "worker"]

    def launch(self, *names: str) -> None:
        """Start parts, all by default, together, and wait until they are ready."""
        chosen = [self.parts[name] for name in names or self.parts]
        for part in chosen:
            part.launch()
        wait_for(lambda: all(part.is_ready() for part in chosen), START_S, self.story)

    def end(self) -> None:
        """End everything, however it is."""
        for part in self.parts.values():
            part.kill()
        self.database.close()

    def story(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(f"--- {name}\n{part.tail()}" for name, part in self.parts.items())

    def add_sites(self, count: int) -> None:
        """Add local sites that work in the journal's directory."""
        variables = {**READY, "ansible_connection": "local", "journal_dir": str(self.journal)}
        import_sites(self.database, {f"site{place}": variables for place in range(count)})

    def add_broken_site(self) -> None:
        """Add a site, `broken`, whose playbooks fail."""
        nowhere = {**READY, "ansible_connection": "local", "journal_dir": "/proc/nowhere"}
        import_sites(self.database, {"broken": nowhere})

    def apply_strategy(self, width: int, **options: Any) -> None:
        """Create and apply a strategy over all sites, `width` at a time; one that has ended makes room.

        `options` are further keys of the request.
        """
        if self.api.get(STRATEGY)[0] == 200:
            assert self.api.ask("DELETE", STRATEGY)[0] == 200
        for leaf in self.journal.glob("*.journal"):
            leaf.unlink()
        self._go.unlink(missing_ok=True)
        body = {
            "type": "prestage",
            "subcloud-apply-type": "parallel",
            "max-parallel-subclouds": width,
            "sysadmin_password": PASSWORD,
            **options,
        }
        status, answer = self.api.ask("POST", STRATEGY, body)
        assert status == 200, answer
        assert self.api.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})[0] == 200

    def lines(self) -> list[str]:
        """Return the journal of all sites."""
        return journal_lines(self.journal)

    def begun(self) -> int:
        """Return how many playbooks have begun their work on a site."""
        return sum(line.startswith("begin") for line in self.lines())

    def ended(self) -> int:
        """Return how many playbooks have done their work on a site."""
        return sum(line.startswith("end") for line in self.lines())

    def release(self) -> None:
        """Let playbooks end that were made to wait; until the next strategy."""
        self._go.touch()

    def rows(self, query: Any) -> list[Row[Any]]:
        """Return what a query finds."""
        with self.database.read() as connection:
            return list(connection.execute(query).all())

    def strategy_state(self) -> str:
        """Return the state of the newest strategy, from the database."""
        return str(self.rows(select(strategies.c.state).order_by(strategies.c.id.desc()).limit(1))[0].state)

    def has_ended(self) -> bool:
        """Tell whether the strategy has."""
        return self.strategy_state() in ("complete", "failed", "aborted")

    def wait_for_end(self, deadline_s: float = END_S) -> str:
        """Wait until the strategy has ended and return its state."""
        wait_for(self.has_ended, deadline_s, self.story)
        return self.strategy_state()


NewInstallation = Callable[..., FaultInstallation]
