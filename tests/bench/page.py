"""The dashboard with thousands of sites while a strategy runs flat out, in a real browser, against the goals.

Run it with `make bench-ui`, or alone: `python -m tests.bench.page`. The service is a process of its own whose playbooks
only pretend. First paint and cells count from the begin of the navigation, with everything of the page in the
browser's cache but the files asked for anew. A task is what keeps the page from answering a hand.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import func, select

from db.database import Database
from db.schema import events
from tests.bench.goals import CONSOLE, Goal, judge, show_machine
from tests.browser.operator_page import OperatorPage
from tests.browser.pretending_service import start_pretending
from tests.browser.watched_page import WatchedPage, start_browser
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

SITES: Final = 5000
# Seconds during which tasks are measured.
WATCHED_S: Final = 15.0
# The most sites at once that a strategy may have.
WIDTH: Final = 500
PAINT_MS: Final = 1000
CELLS_MS: Final = 2000
TASK_MS: Final = 50
_STRATEGY: Final = "/v1.0/sw-update-strategy"

_OBSERVE: Final = """
window.tasks = [];
const note = list => window.tasks.push(...list.getEntries().map(one => one.duration));
new PerformanceObserver(note).observe({type: "longtask"});
"""
_ALL_CELLS: Final = """count => {
    const shown = document.querySelector(".about")?.textContent.replace(/\\D/g, "") || "";
    const isDrawn = document.querySelector("#wall canvas")?.height > 0;
    return shown.startsWith(String(count)) && isDrawn ? performance.now() : 0;
}"""
# A task that is too long; the browser must tell of it, or it tells of none.
_LONG_TASK: Final = "const end = performance.now() + 120; while (performance.now() < end);"
_ENDED: Final = "Number(document.querySelector('.legend [data-state=complete] b').textContent.replace(/\\D/g, ''))"


def main(arguments: list[str]) -> int:
    """Measure, print each goal, and return the exit status."""
    parser = ArgumentParser(prog="python -m tests.bench.page", description="Measure the dashboard in a browser.")
    parser.add_argument("--sites", type=int, default=SITES, help="sites of the strategy (%(default)s)")
    parser.add_argument("--seconds", type=float, default=WATCHED_S, help="how long tasks are watched (%(default)s)")
    chosen = parser.parse_args(arguments)
    show_machine()
    with TemporaryDirectory() as directory, sync_playwright() as playwright, start_browser(playwright) as browser:
        return judge(measure(browser, Path(directory), chosen.sites, chosen.seconds))


def measure(browser: Browser, directory: Path, sites: int, seconds: float) -> Iterator[Goal]:
    """Measure the overview of a strategy of `sites` sites: its first paint, its cells, and its longest task."""
    names = [f"edge-{number:04d}" for number in range(sites)]
    service = start_pretending(directory, names, run_s=0.2)
    try:
        begin(service)
        watched = WatchedPage.open(browser, f"http://127.0.0.1:{service.port}")
        watched.page.add_init_script(_OBSERVE)
        operator = OperatorPage(watched)
        operator.log_in(service.token)
        yield from _opened(operator, sites)
        yield _longest_task(operator, service, seconds)
        watched.close()
    finally:
        service.end()


def begin(service: ServiceProcess) -> None:
    """Create a strategy of all sites, apply it, and wait until the first of them have ended."""
    content = {"type": "prestage", "sysadmin_password": "cHc=", "max-parallel-subclouds": WIDTH}
    rollout = {"mode": "window"}
    for path, body in (("", {**content, "rollout": rollout}), ("/actions", {"action": "apply"})):
        status, answer = service.ask("POST", f"{_STRATEGY}{path}", body)
        assert status == 200, answer
    wait_for(lambda: service.get(_STRATEGY)[1]["progress"]["complete"] > 0, story=service.tail)


def _opened(operator: OperatorPage, sites: int) -> Iterator[Goal]:
    operator.page.reload()
    drawn = operator.page.wait_for_function(_ALL_CELLS, arg=sites, polling="raf")
    paint = operator.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    yield Goal(name=f"first paint with {sites} sites", measured=paint, limit=PAINT_MS, unit="ms")
    yield Goal(name=f"all cells of {sites} sites", measured=drawn.json_value(), limit=CELLS_MS, unit="ms")


def _longest_task(operator: OperatorPage, service: ServiceProcess, seconds: float) -> Goal:
    page = operator.page
    page.evaluate(f"setTimeout(() => {{ {_LONG_TASK} }})")
    page.wait_for_function("() => window.tasks.some(task => task >= 120)")
    page.evaluate("window.tasks.length = 0")
    before, ended = _event_count(service), page.evaluate(_ENDED)
    page.wait_for_timeout(seconds * 1000)
    rate = (_event_count(service) - before) / seconds
    tasks = page.evaluate("window.tasks") or [0.0]
    assert page.evaluate(_ENDED) > ended, "the page stood still"
    CONSOLE.print(f"{rate:.0f} events/s, {sum(task > TASK_MS for task in tasks)} tasks over {TASK_MS} ms")
    return Goal(name=f"longest task at {rate:.0f} events/s", measured=max(tasks), limit=TASK_MS, unit="ms")


def _event_count(service: ServiceProcess) -> int:
    database = Database(service.database_url)
    try:
        with database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(events)).scalar_one())
    finally:
        database.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
