"""What a strategy costs beside its playbooks: no-op runner, declared sites, embedded engine on SQLite.

Run it with `make bench`. Each size runs in a process of its own; figures are whole-process CPU (all threads, user and
system). The last lines compare with the goals and the exit status tells whether they are met.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from threading import Event, get_ident
from time import monotonic
from typing import Any, Final

from rich.table import Table
from sqlalchemy import event, func, insert, select

from actors.coordinator.subclouds import read_new
from db.schema import runs, steps, strategies, strategy_is_active, subclouds
from messages.commands import Answer, Command, CommandType
from monitoring.logging import configure_logs
from runner.fake import FakeRunEnd, FakeRunner
from service.settings import Settings
from service.wiring import Process, build
from statemachine.host_keys import HostKeyPolicy
from tests.bench.goals import CONSOLE, Goal, judge

SIZES: Final = (100, 1000, 5000)
WIDTH: Final = 500
PHASES: Final = 4
GOAL_CREATE_S: Final = 2.0
GOAL_CPU_MS: Final = 15.0
GOAL_GAP_MS: Final = 250.0
# A strategy that takes longer than this is given up, in seconds.
_PATIENCE_S: Final = 600.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What was measured of one strategy."""

    sites: int
    width: int
    create_s: float
    apply_s: float
    wall_s: float
    # CPU of the whole process from apply to the end, per phase of a site.
    cpu_ms_per_phase: float
    # Between the end of one run of a site and the start of its next, in milliseconds.
    gap_median_ms: float
    gap_p99_ms: float
    peak_memory_mb: float
    # SQL statements of the abort command over as many waiting steps as there are sites.
    abort_statements: int


def main(arguments: list[str]) -> int:
    """Measure all sizes, or one in this process when its numbers are given; return the exit status."""
    if arguments:
        sites, width, delay_ms = (int(text) for text in arguments)
        configure_logs("json", "warning")
        sys.stdout.write(json.dumps(asdict(measure(sites, width, delay_ms / 1000))) + "\n")
        return 0
    light = _in_own_process(20, 4, 20)
    loaded = [_in_own_process(size, WIDTH, 0) for size in SIZES]
    _show(light, loaded)
    return judge(_goals(light, loaded))


def _in_own_process(sites: int, width: int, delay_ms: int) -> Figures:
    command = [sys.executable, "-m", "tests.bench.fleet", str(sites), str(width), str(delay_ms)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def measure(
    sites: int,
    width: int,
    delay_s: float,
    beside: Callable[[Process], AbstractContextManager[object]] = nullcontext,
) -> Figures:
    """Run one strategy over `sites` sites whose playbooks do nothing for `delay_s` seconds, with `beside` around it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        _service(Path(directory), delay_s) as service,
        beside(service),
    ):
        _add_sites(service, sites)
        request = {"type": "prestage", "subcloud-apply-type": "parallel", "max-parallel-subclouds": width}
        create_s = _timed(service, CommandType.STRATEGY_CREATE, request)
        cpu_before, began = _cpu_s(), monotonic()
        apply_s = _timed(service, CommandType.STRATEGY_APPLY, {})
        _await_end(service)
        wall_s, cpu_s = monotonic() - began, _cpu_s() - cpu_before
        gaps = sorted(_gaps_ms(service))
        _timed(service, CommandType.STRATEGY_DELETE, {})
        statements = _abort_statements(service, request | {"max-parallel-subclouds": 1})
        return Figures(
            sites=sites,
            width=width,
            create_s=create_s,
            apply_s=apply_s,
            wall_s=wall_s,
            cpu_ms_per_phase=cpu_s * 1000 / (sites * PHASES),
            gap_median_ms=statistics.median(gaps),
            gap_p99_ms=gaps[int(len(gaps) * 0.99)],
            peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            abort_statements=statements,
        )


@contextmanager
def _service(directory: Path, delay_s: float) -> Iterator[Process]:
    # Images are staged too, so that every site has four phases.
    deploy = directory / "deploy" / "23.09"
    deploy.mkdir(parents=True)
    (deploy / "prestage_images_list.txt").touch()
    settings = Settings(
        data_dir=directory,
        release="23.09",
        host_keys=HostKeyPolicy.IGNORE,
        deploy_dir=directory / "deploy",
        feed_dir=directory / "feed",
    )
    end = FakeRunEnd(delay_s=delay_s)
    service = build(
        settings,
        runner_factory=lambda on_finished: FakeRunner(slots=WIDTH, on_finished=on_finished, decide=lambda _: end),
    )
    service.lifecycle.start()
    try:
        yield service
    finally:
        service.lifecycle.stop()
        service.database.close()


def _add_sites(service: Process, count: int) -> None:
    at = datetime.now(UTC)
    rows = [
        read_new(
            {
                "name": f"site{place:05}",
                "software_version": "22.12",
                "management-state": "managed",
                "availability-status": "online",
                "oam_floating_ip": "10.0.0.1",
            },
            default_version="",
        )
        | {"group_id": 1, "created_at": at}
        for place in range(count)
    ]
    with service.database.write() as connection:
        connection.execute(insert(subclouds), rows)


def _send(service: Process, kind: CommandType, data: dict[str, Any]) -> Answer:
    command = Command(type=kind, data=data)
    sealed = service.sealer.seal(b64encode(b"x").decode(), bound_to=command.id)
    command = command.model_copy(update={"sealed_password": sealed})
    answer = asyncio.run(service.messaging.command_transport(60).request(command))
    if answer.status != 200:
        raise SystemExit(f"{kind} was answered {answer.status}: {answer.detail}")
    return answer


def _timed(service: Process, kind: CommandType, data: dict[str, Any]) -> float:
    began = monotonic()
    _send(service, kind, data)
    return monotonic() - began


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _await_end(service: Process) -> None:
    deadline, pause = monotonic() + _PATIENCE_S, Event()
    while True:
        with service.database.read() as connection:
            state = connection.execute(select(strategies.c.state).where(strategy_is_active)).scalar_one()
        if state == "complete":
            return
        if state != "applying" or monotonic() > deadline:
            raise SystemExit(f"the strategy is {state}")
        # Seldom enough to cost nothing beside what is measured.
        pause.wait(0.2)


def _gaps_ms(service: Process) -> Iterator[float]:
    """Yield the time from the end of each run to the start of the site's next one, where nothing was waited for."""
    with service.database.read() as connection:
        rows = connection.execute(
            select(runs.c.step_id, runs.c.phase, runs.c.started_at, runs.c.finished_at)
            .where(runs.c.step_id.is_not(None))
            .order_by(runs.c.step_id, runs.c.id)
        ).all()
    for earlier, later in pairwise(rows):
        # Between precheck and packages lies the shared preparation.
        if earlier.step_id == later.step_id and earlier.phase != "prestage-precheck":
            yield (later.started_at - earlier.finished_at).total_seconds() * 1000


def _abort_statements(service: Process, request: dict[str, Any]) -> int:
    # Nothing starts, so that every step waits and the abort is alone.
    service.worker.drain()
    _send(service, CommandType.STRATEGY_CREATE, request)
    _send(service, CommandType.STRATEGY_APPLY, {})
    statements: list[str] = []
    me = get_ident()

    def count(*details: Any) -> None:
        # Other threads go on with their own work meanwhile.
        if get_ident() == me:
            statements.append(details[2])

    event.listen(service.database.writer_engine, "before_cursor_execute", count)
    service.coordinator.execute(Command(type=CommandType.STRATEGY_ABORT, data={}))
    event.remove(service.database.writer_engine, "before_cursor_execute", count)
    with service.database.read() as connection:
        aborted = connection.execute(select(func.count()).where(steps.c.state == "aborted")).scalar_one()
    if aborted == 0:
        raise SystemExit("the abort found no waiting step")
    return len(statements)


def _show(light: Figures, loaded: list[Figures]) -> None:
    table = Table(title="Strategy with a no-op runner, embedded engine, SQLite")
    names = (
        "sites", "width", "create s", "apply s", "wall s", "CPU ms/phase", "gap median ms", "gap p99 ms", "peak MB",
        "abort SQL",
    )  # fmt: skip
    for name in names:
        table.add_column(name, justify="right")
    for one in (light, *loaded):
        table.add_row(
            str(one.sites),
            str(one.width),
            f"{one.create_s:.3f}",
            f"{one.apply_s:.3f}",
            f"{one.wall_s:.2f}",
            f"{one.cpu_ms_per_phase:.2f}",
            f"{one.gap_median_ms:.1f}",
            f"{one.gap_p99_ms:.1f}",
            f"{one.peak_memory_mb:.0f}",
            str(one.abort_statements),
        )
    CONSOLE.print(table)
    base = loaded[0].cpu_ms_per_phase
    growth = ", ".join(f"{one.sites}: {one.cpu_ms_per_phase / base:.2f}x" for one in loaded)
    CONSOLE.print(f"growth of CPU per phase against {loaded[0].sites} sites: {growth}")


def _goals(light: Figures, loaded: list[Figures]) -> Iterator[Goal]:
    thousand = next(one for one in loaded if one.sites == 1000)
    counts = [one.abort_statements for one in loaded]
    for name, measured, limit, unit in (
        ("create 1,000 sites, SQLite", thousand.create_s, GOAL_CREATE_S, "s"),
        ("CPU per phase at 1,000 sites, SQLite", thousand.cpu_ms_per_phase, GOAL_CPU_MS, "ms"),
        ("median gap at light load, SQLite", light.gap_median_ms, GOAL_GAP_MS, "ms"),
        ("statements of an abort, most against fewest", max(counts) / min(counts), 1.0, "x"),
    ):
        yield Goal(name=name, measured=measured, limit=limit, unit=unit)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
