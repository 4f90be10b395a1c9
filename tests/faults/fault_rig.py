"""What fault tests share: one installation as real processes that may be hurt, a caller who keeps asking, a checker.

Everything is real: RabbitMQ, PostgreSQL, processes, Ansible. The playbooks write a journal on their site, and
afterwards the database and the journal together tell whether anything was lost, doubled or left behind.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
from sqlalchemy import Row, select

from db.engine import Database
from db.schema import commands, outbox, preparations, runs, steps, strategies, subcloud_groups
from runner.processes import marked
from tests.journal_playbooks import journal_lines, write_playbooks
from tests.rabbitmq_server import RabbitmqServer
from tests.service_process import ServiceProcess
from tests.waiting import wait_for

T = TypeVar("T")

# The long form is that of `make faults`.
LONG: Final = os.environ.get("PRESTAGER_FAULT_ROUNDS") == "long"
STRATEGY: Final = "/v1.0/sw-update-strategy"
PASSWORD: Final = b64encode(b"Li69nux*").decode()
# Deadlines, generous for a busy machine, in seconds.
START_S: Final = 60.0
END_S: Final = 150.0
# Promises, in seconds: no process of a killed worker's playbooks; commands after broker or database are back.
ORPHAN_S: Final = 5.0
ACCEPTED_AGAIN_S: Final = 10.0
# What an unwilling installation may answer; anything else but 200 is a fault of ours.
_TRY_AGAIN: Final = frozenset({503, 504})
_QUICK_PLAYBOOK: Final = "- hosts: all\n  gather_facts: false\n  tasks: []\n"


def scaled(short: T, long: T) -> T:
    """Return how much of something to do in this run."""
    return long if LONG else short


def seeded() -> random.Random:
    """Return randomness whose seed is printed; PRESTAGER_FAULT_SEED gives it back."""
    seed = int(os.environ.get("PRESTAGER_FAULT_SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"seed {seed}: PRESTAGER_FAULT_SEED={seed} repeats it\n")
    return random.Random(seed)


class StrictRabbitmq(RabbitmqServer):
    """A node that takes a delivery back after 5 s instead of 30 minutes, and looks every second instead of minute."""

    def __init__(self) -> None:
        super().__init__("consumer_timeout = 5000")

    def _make_environment(self) -> dict[str, str]:
        environment = super()._make_environment()
        environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"] += " -rabbit channel_tick_interval 1000"
        return environment


class Part:
    """One process of an installation: an api, a coordinator or a worker."""

    def __init__(self, kind: str, name: str, environment: dict[str, str], log: Path) -> None:
        self.kind = kind
        self.name = name
        self.log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        # Where the log of this life begins.
        self._log_start = 0

    def launch(self) -> None:
        """Start the process; it becomes ready in its own time."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", self.kind],
                env=self._environment,
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
            )

    def is_alive(self) -> bool:
        """Tell whether the process lives, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def is_ready(self) -> bool:
        """Tell whether it said so in this life.

        Raises:
            AssertionError: It ended by itself.
        """
        assert self.is_alive(), f"{self.name} ended by itself:\n{self.tail()}"
        return "service.ready" in self._life()

    def said(self, event: str) -> int:
        """Return how many lines of this life's log name an event."""
        return sum(event in line for line in self._life().splitlines())

    def _life(self) -> str:
        return self.log.read_bytes()[self._log_start :].decode(errors="replace")

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(START_S)

    def freeze(self) -> None:
        """Stop it from doing anything; its connections stay."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def playbook_processes(self) -> list[psutil.Process]:
        """Return the living processes of a worker's runs, a child that is kept ready among them."""
        return marked(self.name)

    def works(self) -> bool:
        """Tell whether a playbook of this worker is at work on a site now."""
        return any(_is_at_work(process) for process in self.playbook_processes())


def _is_at_work(process: psutil.Process) -> bool:
    try:
        return any("work.sh" in word for word in process.cmdline())
    except psutil.Error:
        return False


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

    def _part(self, kind: str, name: str) -> Part:
        own_name = f"{self.api.worker}-{name}"
        environment = self.api.environment | {"PRESTAGER_WORKER_NAME": own_name}
        return Part(kind, own_name, environment, self.directory / f"{name}.log")

    @property
    def workers(self) -> list[Part]:
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
        for place in range(count):
            site = {
                "name": f"site{place}",
                "software_version": "22.12",
                "management-state": "managed",
                "availability-status": "online",
                "connection": {"ansible_connection": "local", "journal_dir": str(self.journal)},
            }
            status, answer = self.api.ask("POST", "/v1.0/subclouds", site)
            assert status == 200, answer

    def apply_strategy(self, width: int) -> None:
        """Create and apply a strategy over all sites, `width` at a time; one that has ended makes room."""
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


@dataclass(frozen=True)
class Outcome:
    """A command that has a definite answer."""

    name: str
    status: int
    # Monotonic times of the last try.
    asked_at: float
    answered_at: float


@dataclass
class Caller:
    """Somebody who makes one group after another, each asked for until there is a definite answer.

    Every repeat carries the same Idempotency-Key; so the answer to each must be 200 in the end, whatever happened
    between. `strange` collects what no caller should ever see.
    """

    url: str
    token: str
    prefix: str = "g"
    outcomes: list[Outcome] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    # Of the slowest answer, whatever it was, in seconds.
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        """Begin."""
        self._over = Event()
        self._thread = Thread(target=self._call, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Make no more, and wait for the answer to the last."""
        self._over.set()
        self._thread.join(START_S)
        assert not self._thread.is_alive(), f"no definite answer within {START_S} s: {self.tries}"

    def accepted_after(self, moment: float) -> float | None:
        """Return how long after a moment the first command was accepted that was asked for since; None: none yet."""
        return next((done.answered_at - moment for done in self.outcomes if done.asked_at >= moment), None)

    def _call(self) -> None:
        while not self._over.is_set():
            name = f"{self.prefix}{len(self.outcomes)}"
            while (outcome := self._try(name)) is None:
                Event().wait(0.1)
            self.outcomes.append(outcome)
            self._over.wait(0.02)

    def _try(self, name: str) -> Outcome | None:
        body = {"name": name, "description": name, "update_apply_type": "serial", "max_parallel_subclouds": 2}
        request = Request(
            f"{self.url}/v1.0/subcloud-groups",
            data=json.dumps(body).encode(),
            headers={"X-Auth-Token": self.token, "Idempotency-Key": name, "Accept": "application/json"},
        )
        asked_at = monotonic()
        try:
            with urlopen(request, timeout=30) as response:
                response.read()
                status = response.status
        except HTTPError as error:
            status, text = error.code, error.read().decode(errors="replace")
            if status not in _TRY_AGAIN:
                self.strange.append(f"{name}: {status} {text[:300]}")
        except (OSError, HTTPException) as error:
            # Its API is dead or being born.
            self.tries[type(error).__name__] += 1
            return None
        answered_at = monotonic()
        self.slowest_s = max(self.slowest_s, answered_at - asked_at)
        self.tries[str(status)] += 1
        return Outcome(name, status, asked_at, answered_at) if status not in {500, *_TRY_AGAIN} else None


@contextmanager
def calling(installation: FaultInstallation, prefix: str = "g") -> Iterator[Caller]:
    """Have somebody call all the while; afterwards all he asked for has its answer."""
    caller = Caller(f"http://127.0.0.1:{installation.api.port}", installation.api.token, prefix)
    try:
        yield caller
    finally:
        caller.stop()
        sys.stdout.write(f"calls {dict(caller.tries)}, slowest {caller.slowest_s:.1f} s\n")


def violations(installation: FaultInstallation, caller: Caller | None = None) -> list[str]:
    """Return every invariant that a strategy which has ended does not keep; the outbox gets a little time."""
    wait_for(lambda: not installation.rows(select(outbox.c.id)), START_S, installation.story)
    found = [*_lost_steps(installation), *_doubled(installation)]
    return [*found, *(_lost_commands(installation, caller) if caller else ())]


def _lost_steps(installation: FaultInstallation) -> Iterator[str]:
    for row in installation.rows(select(steps).where(steps.c.finished_at.is_(None))):
        yield f"step of {row.subcloud_name} has not ended: {row.state}"
    for row in installation.rows(select(runs).where(~runs.c.consumed)):
        yield f"run {row.id} is left {row.state}"
    for row in installation.rows(select(preparations).where(preparations.c.finished_at.is_(None))):
        yield f"preparation {row.id} is left {row.state}"
    for row in installation.rows(select(strategies).where(strategies.c.finished_at.is_(None))):
        yield f"strategy {row.id} is left {row.state}"


def _doubled(installation: FaultInstallation) -> Iterator[str]:
    for leaf in sorted(installation.journal.glob("*.journal")):
        lines = leaf.read_text().splitlines()
        yield from (f"{leaf.stem}: {line}" for line in lines if line.startswith("overlap"))
        opened = ""
        for line in lines:
            verb, _, run = line.partition(" ")
            if verb == "begin":
                opened = run
            elif verb == "end" and run != opened:
                yield f"{leaf.stem}: '{line}' ends what was not begun last"
    for row in installation.rows(select(steps.c.id, steps.c.subcloud_name, steps.c.state)):
        won = installation.rows(
            select(runs.c.phase).where(runs.c.step_id == row.id, runs.c.outcome == "succeeded").order_by(runs.c.id)
        )
        for phase, count in Counter(run.phase for run in won).items():
            if count > 1:
                yield f"{row.subcloud_name}: {phase} succeeded {count} times"


def _lost_commands(installation: FaultInstallation, caller: Caller) -> Iterator[str]:
    yield from (f"strange answer: {text}" for text in caller.strange)
    stored = {row.id.rpartition("/")[2]: row.status for row in installation.rows(select(commands))}
    made = {row.name for row in installation.rows(select(subcloud_groups.c.name))}
    for outcome in caller.outcomes:
        if outcome.status != 200:
            yield f"command {outcome.name} was answered {outcome.status}"
        if stored.get(outcome.name) != outcome.status:
            yield f"command {outcome.name} was answered {outcome.status} and stored as {stored.get(outcome.name)}"
        if outcome.name not in made:
            yield f"command {outcome.name} has an outcome and no effect"


def restarts(installation: FaultInstallation) -> list[str]:
    """Return what did not go straight: a playbook that began more than once, a run that did not succeed at once."""
    begun = Counter(
        (leaf.stem, line.split()[1])
        for leaf in installation.journal.glob("*.journal")
        for line in leaf.read_text().splitlines()
        if line.startswith("begin")
    )
    again = [f"{phase} began {count} times on {site}" for (site, phase), count in begun.items() if count > 1]
    newest = select(strategies.c.id).order_by(strategies.c.id.desc()).limit(1).scalar_subquery()
    of_playbooks = (
        select(runs)
        .join(steps, steps.c.id == runs.c.step_id)
        .where(steps.c.strategy_id == newest, runs.c.phase != "prestage-precheck")
    )
    rows = installation.rows(of_playbooks)
    return [*again, *(f"run {row.id} of {row.phase} was {row.outcome}" for row in rows if row.outcome != "succeeded")]


def orphans(parts: list[Part]) -> Callable[[], bool]:
    """Return a condition: no process is left of these workers' playbooks."""
    return lambda: not any(part.playbook_processes() for part in parts)
