"""How fast many sites are asked for their facts: simulated sites over TLS in a process of their own.

Run it with `make bench`. Every answer of a site takes a while, as real ones do; the sites are duplex, so that
each is read whole and then skipped, and nothing but prechecks is measured. The exit status tells whether the goals are
met.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import structlog
from sqlalchemy import select

from db.schema import steps
from messages.commands import CommandType
from runner.capacity import raise_descriptor_limit
from runner.fake import FakeRunner
from service.settings import Settings
from service.wiring import Process, build
from simulator.certificates import Authority
from simulator.site_spec import Account, SiteSpec
from simulator.sites_api import serve_sites
from statemachine.host_keys import HostKeyPolicy
from tests.bench.fleet import _add_sites, _await_end, _cpu_s, _timed
from tests.bench.goals import CONSOLE, Goal, judge

SITES: Final = 1000
WIDTH: Final = 250
DELAY_S: Final = 0.5
GOAL_S: Final = 60.0
GOAL_MB: Final = 300.0
_READY: Final = "ready"


def main(arguments: list[str]) -> int:
    """Measure, or serve the sites when told so; return the exit status."""
    raise_descriptor_limit()
    if arguments[:1] == ["serve"]:
        asyncio.run(_serve(Path(arguments[1]), int(arguments[2])))
        return 0
    count = int(arguments[0]) if arguments else SITES
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as name, _sites(Path(name), count), _service(Path(name)) as service:
        return _measure(service, count)


def _measure(service: Process, count: int) -> int:
    _add_sites(service, count)
    # `max-parallel-subclouds` is how many are asked at once.
    request = {"type": "prestage", "subcloud-apply-type": "parallel", "max-parallel-subclouds": WIDTH}
    _timed(service, CommandType.STRATEGY_CREATE, request)
    cpu_before, began = _cpu_s(), monotonic()
    _timed(service, CommandType.STRATEGY_APPLY, {})
    _await_end(service)
    wall_s, cpu_s = monotonic() - began, _cpu_s() - cpu_before
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with service.database.read() as connection:
        ends = Counter(
            details.partition("':")[2][:60] for details in connection.execute(select(steps.c.details)).scalars()
        )
    CONSOLE.print(
        f"{count} sites, {WIDTH} at once, {DELAY_S:g} s per answer: {wall_s:.1f} s,"
        f" {cpu_s * 1000 / count:.1f} ms of CPU per site, {peak_mb:.0f} MB at most; {dict(ends)}"
    )
    goals = (
        Goal(name=f"facts of {count:,} sites", measured=wall_s, limit=GOAL_S, unit="s"),
        Goal(name=f"memory while {count:,} sites are asked", measured=peak_mb, limit=GOAL_MB, unit="MB"),
        Goal(name="different ends of prechecks", measured=len(ends), limit=1, unit=""),
    )
    return judge(goals)


@contextmanager
def _service(directory: Path) -> Iterator[Process]:
    settings = Settings(
        data_dir=directory / "data",
        release="23.09",
        inspector="sysinv",
        host_keys=HostKeyPolicy.IGNORE,
        inspections=WIDTH,
        controller_check="declared",
        site_password=Account.password,
        site_ca_file=directory / "ca.pem",
        site_urls_file=directory / "urls.toml",
    )
    service = build(settings, runner_factory=lambda on_finished: FakeRunner(slots=WIDTH, on_finished=on_finished))
    service.lifecycle.start()
    try:
        yield service
    finally:
        service.lifecycle.stop()
        service.database.close()


@contextmanager
def _sites(directory: Path, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.bench.precheck", "serve", str(directory), str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or process.stdout.readline().strip() != _READY:
            raise SystemExit("the simulated sites did not start")
        yield
    finally:
        process.terminate()
        process.communicate()


async def _serve(directory: Path, count: int) -> None:
    specs = [SiteSpec(name=f"site{place:05}", system_mode="duplex", delay_s=DELAY_S) for place in range(count)]
    context = Authority(directory).server_context()
    async with serve_sites(specs, ssl_context=context) as sites:
        (directory / "urls.toml").write_text(
            "".join(
                f'[{name}]\nkeystone = "{site.keystone_url}"\nsysinv = "{site.sysinv_url}"\n'
                for name, site in sites.items()
            )
        )
        sys.stdout.write(f"{_READY}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
