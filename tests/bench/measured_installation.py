"""An installation as a site runs it, with playbooks that only take time, and what its strategies cost.

Either one process over SQLite, or an API, a coordinator and a worker as processes of their own over a private RabbitMQ
and a private PostgreSQL. Commands go over HTTP.
"""

from __future__ import annotations

import tempfile
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any, Final

import psutil
from sqlalchemy import func, insert, select

from actors.coordinator.subclouds import read_new
from db.database import Database
from db.schema import steps, strategies, subclouds
from tests.bench.timed_process import (
    Durations,
    PlaybookTimes,
    TimedPlaybooks,
    read_journal,
    write_durations,
)
from tests.support.installation_processes import InstallationProcesses
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

EMBEDDED: Final = "embedded"
DISTRIBUTED: Final = "RabbitMQ + PostgreSQL"
# Moves of a step from state to state: to precheck, prepare, packages, images and complete.
TRANSITIONS: Final = 5
# A strategy that takes longer than this is given up, in seconds.
_PATIENCE_S: Final = 1800.0
_TIMED: Final = "tests.bench.timed_process"
_STRATEGY: Final = "/v1.0/sw-update-strategy"
_PASSWORD: Final = b64encode(b"x").decode()


@dataclass(frozen=True, kw_only=True)
class StrategyCost:
    """What one strategy took."""

    sites: int
    width: int
    # From the request to apply it to the transaction that completes it.
    wall_s: float
    # User and system time of each process meanwhile, by its name.
    cpu_s: Mapping[str, float]

    @property
    def transitions(self) -> int:
        """Moves of all steps."""
        return self.sites * TRANSITIONS

    @property
    def cpu_ms(self) -> Mapping[str, float]:
        """CPU per transition of each process, in milliseconds."""
        return {name: seconds * 1000 / self.transitions for name, seconds in self.cpu_s.items()}

    @property
    def total_cpu_ms(self) -> float:
        """CPU per transition of all processes, in milliseconds."""
        return sum(self.cpu_ms.values())


class MeasuredInstallation:
    """A running installation; `processes` are measured, by their names."""

    def __init__(
        self, kind: str, api: ServiceProcess, database: Database, playbooks: Path, processes: Mapping[str, int]
    ) -> None:
        self.kind = kind
        self.database = database
        self.url = f"http://127.0.0.1:{api.port}"
        self.token = api.token
        self._api = api
        self._playbooks = playbooks
        self._processes = {name: psutil.Process(pid) for name, pid in processes.items()}

    def add_sites(self, count: int) -> None:
        """Declare so many sites that can be prestaged, beside those that are there."""
        with self.database.write() as connection:
            first = connection.execute(select(func.count()).select_from(subclouds)).scalar_one()
            rows = [_site(place) for place in range(first, first + count)]
            connection.execute(insert(subclouds), rows)

    def run_strategy(self, width: int, **options: Any) -> StrategyCost:
        """Prestage all sites, `width` at once, and forget the strategy; `options` are further keys of the request."""
        self.create_strategy(width, **options)
        before, began = self._cpu_s(), time()
        self.ask("POST", f"{_STRATEGY}/actions", {"action": "apply"})
        finished_at = wait_for(self._finished_at, _PATIENCE_S, self._api.tail)
        after = self._cpu_s()
        with self.database.read() as connection:
            newest = select(func.max(strategies.c.id)).scalar_subquery()
            done = select(func.count()).where(steps.c.strategy_id == newest, steps.c.state == "complete")
            sites = connection.execute(done).scalar_one()
        self.ask("DELETE", _STRATEGY, None)
        return StrategyCost(
            sites=sites,
            width=width,
            wall_s=finished_at.timestamp() - began,
            cpu_s={name: after[name] - before[name] for name in after},
        )

    def create_strategy(self, width: int, **options: Any) -> None:
        """Create a strategy of all sites, `width` at once."""
        created = {"type": "prestage", "subcloud-apply-type": "parallel", "max-parallel-subclouds": width}
        self.ask("POST", _STRATEGY, created | options | {"sysadmin_password": _PASSWORD})

    def journal(self) -> list[PlaybookTimes]:
        """Return all playbooks that have ended, in the order of their ends."""
        return read_journal(self._playbooks)

    def find(self, path: str) -> Any:
        """Ask for what a path names and return it; None when it is not there.

        Raises:
            SystemExit: It was refused for another reason.
        """
        status, answer = self._api.ask("GET", path, None)
        if status == 404:
            return None
        if status != 200:
            raise SystemExit(f"GET {path} was answered {status}: {answer}")
        return answer

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request to the API and return its answer.

        Raises:
            SystemExit: It was refused.
        """
        status, answer = self._api.ask(method, path, body)
        if status != 200:
            raise SystemExit(f"{method} {path} was answered {status}: {answer}")
        return answer

    def _finished_at(self) -> datetime | None:
        newest = select(strategies.c.state, strategies.c.finished_at).order_by(strategies.c.id.desc()).limit(1)
        with self.database.read() as connection:
            state, finished_at = connection.execute(newest).one()
        if state not in ("applying", "complete"):
            raise SystemExit(f"the strategy is {state}")
        return finished_at if state == "complete" else None

    def api_cpu_s(self) -> float:
        """Return user and system time of the process with the API, which does all else too when embedded."""
        return _cpu_of_tree(self._processes.get("api") or self._processes["service"])

    def _cpu_s(self) -> dict[str, float]:
        return {name: _cpu_of_tree(process) for name, process in self._processes.items()}


@contextmanager
def measured_installation(
    kind: str, durations: Durations | None = None, slots: int = 500
) -> Iterator[MeasuredInstallation]:
    """Start an installation of a kind without sites; playbooks without durations end at once."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prestager-bench-")))
        playbooks = directory / "playbooks-times"
        write_durations(playbooks, durations or {})
        # Images are staged too, so that every site has all phases.
        deploy = directory / "deploy" / "23.09"
        deploy.mkdir(parents=True)
        (deploy / "prestage_images_list.txt").touch()
        settings: dict[str, object] = {
            "HOST_KEYS": "ignore",
            "DEPLOY_DIR": directory / "deploy",
            "FEED_DIR": directory / "feed",
            "SLOTS": slots,
            "SECRET_KEY": b64encode(b"k" * 32).decode(),
        }
        make = _distributed if kind == DISTRIBUTED else _embedded
        api, processes = make(stack, directory, settings, playbooks)
        database = Database(api.database_url)
        stack.callback(database.close)
        yield MeasuredInstallation(kind, api, database, playbooks, processes)


def _embedded(
    stack: ExitStack, directory: Path, settings: dict[str, object], playbooks: Path
) -> tuple[ServiceProcess, dict[str, int]]:
    service = ServiceProcess(directory, program=_TIMED, **settings)
    service.environment[TimedPlaybooks.VARIABLE] = str(playbooks)
    service.prepare()
    stack.callback(service.end)
    service.start()
    return service, {"service": service.pid}


def _distributed(
    stack: ExitStack, directory: Path, settings: dict[str, object], playbooks: Path
) -> tuple[ServiceProcess, dict[str, int]]:
    postgres, rabbitmq = stack.enter_context(PostgresServer()), stack.enter_context(RabbitmqServer())
    url = postgres.url(postgres.create_database())
    api = ServiceProcess(directory, DATABASE_URL=url, BROKER_URL=rabbitmq.url, **settings)
    api.environment[TimedPlaybooks.VARIABLE] = str(playbooks)
    api.prepare()
    parts = InstallationProcesses(directory=directory, api=api)
    stack.callback(parts.end)
    coordinator = parts.part("coordinator", "coordinator")
    worker = parts.part("worker", "worker", program=_TIMED)
    api.start("api")
    processes = {"api": api.pid, "coordinator": coordinator.pid, "worker": worker.pid}
    return api, processes | {"PostgreSQL": postgres.pid, "broker": rabbitmq.pid}


def _site(place: int) -> dict[str, Any]:
    given = {
        "name": site_name(place),
        "software_version": "22.12",
        "management-state": "managed",
        "availability-status": "online",
        "oam_floating_ip": "10.0.0.1",
    }
    return read_new(given, default_version="") | {"group_id": 1, "created_at": datetime.now(UTC)}


def site_name(place: int) -> str:
    """Return the name of a site; names sort as places do."""
    return f"site{place:05}"


def _cpu_of_tree(root: psutil.Process) -> float:
    """Return user and system time of a process and its descendants, those that have ended included."""
    spent_s = 0.0
    for process in [root, *root.children(recursive=True)]:
        # Its parent counts it from its end on.
        with suppress(psutil.NoSuchProcess):
            spent_s += sum(process.cpu_times()[:4])
    return spent_s
