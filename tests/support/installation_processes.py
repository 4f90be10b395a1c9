"""One installation as processes of their own: an API, coordinators and workers over one RabbitMQ and one database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

_START_S = 30.0
_STOP_S = 60.0


@dataclass
class PartProcess:
    """A coordinator or a worker."""

    log: Path
    process: subprocess.Popen[bytes]

    def is_ready(self) -> bool:
        """Tell whether it said so."""
        if self.process.poll() is not None:
            raise AssertionError(f"a part ended by itself:\n{self.tail()}")
        return "service.ready" in self.log.read_text(errors="replace")

    def tail(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        self.process.terminate()
        return self.process.wait(_STOP_S)


@dataclass
class InstallationProcesses:
    """An API with coordinators and workers; parts are added, killed and added again."""

    directory: Path
    api: ServiceProcess
    parts: list[PartProcess] = field(default_factory=list)

    def part(self, kind: str, name: str, **settings: object) -> PartProcess:
        """Start a coordinator or a worker with settings of its own and wait until it is ready."""
        log = self.directory / f"{kind}-{name}-{len(self.parts)}.log"
        environment = self.api.environment | {"PRESTAGER_WORKER_NAME": f"{self.api.worker}-{name}"}
        environment |= {f"PRESTAGER_{setting}": str(value) for setting, value in settings.items()}
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", kind],
                env=environment,
                stdout=sink,
                stderr=sink,
                stdin=subprocess.DEVNULL,
            )
        part = PartProcess(log=log, process=process)
        self.parts.append(part)
        wait_for(part.is_ready, _START_S, part.tail)
        return part

    def end(self) -> None:
        """End everything, however it is."""
        for part in self.parts:
            if part.process.poll() is None:
                part.process.kill()
                part.process.wait()
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
