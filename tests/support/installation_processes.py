"""One installation as processes of their own: an API, coordinators and workers over one RabbitMQ and one database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from runner.processes import marked
from tests.support.service_process import PROGRAM, ServiceProcess
from tests.support.waiting import PATIENCE_S, wait_for

# Deadline of a start or a stop, generous for a busy machine, in seconds.
START_S: Final = PATIENCE_S


class PartProcess:
    """One process of an installation: an api, a coordinator or a worker; `program` is the module that is started."""

    def __init__(self, kind: str, name: str, environment: dict[str, str], log: Path, *, program: str = PROGRAM) -> None:
        self.kind = kind
        self.name = name
        self.log = log
        self._program = program
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        # Where the log of this life begins.
        self._log_start = 0

    def launch(self) -> None:
        """Start the process; it becomes ready in its own time."""
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._program, self.kind],
                env=self._environment,
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
            )

    @property
    def pid(self) -> int:
        """Its process id; it was started."""
        assert self._process is not None
        return self._process.pid

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


def orphans(parts: list[PartProcess]) -> Callable[[], bool]:
    """Return a condition: no process is left of these workers' playbooks."""
    return lambda: not any(part.playbook_processes() for part in parts)


@dataclass
class InstallationProcesses:
    """An API with coordinators and workers; parts are added, killed and added again."""

    directory: Path
    api: ServiceProcess
    parts: list[PartProcess] = field(default_factory=list)

    def part(self, kind: str, name: str, *, program: str = PROGRAM, **settings: object) -> PartProcess:
        """Start a coordinator or a worker with settings of its own and wait until it is ready."""
        own_name = f"{self.api.worker}-{name}"
        environment = self.api.environment | {"PRESTAGER_WORKER_NAME": own_name}
        environment |= {f"PRESTAGER_{setting}": str(value) for setting, value in settings.items()}
        log = self.directory / f"{kind}-{name}-{len(self.parts)}.log"
        part = PartProcess(kind, own_name, environment, log, program=program)
        part.launch()
        self.parts.append(part)
        wait_for(part.is_ready, START_S, part.tail)
        return part

    def end(self) -> None:
        """End everything, however it is."""
        for part in self.parts:
            part.kill()
        self.api.end()

    def story(self) -> str:
        """Return the ends of all logs."""
        return "\n".join([self.api.tail(), *(part.tail() for part in self.parts)])


def new_installation(directory: Path, **settings: object) -> InstallationProcesses:
    """Return an installation whose API is not started; the schema and an admin's token are made."""
    api = ServiceProcess(directory, **settings)
    api.environment["PATH"] = os.environ["PATH"]
    api.prepare()
    return InstallationProcesses(directory=directory, api=api)
