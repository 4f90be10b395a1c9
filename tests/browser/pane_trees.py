"""What screen readers are told of each pane: its whole tree of accessibility, beside the one that somebody read.

`make page-trees` writes the files in `trees/`, from a service of its own whose playbooks only pretend. What differs
from run to run, such as times, is masked.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable, Iterator
from difflib import unified_diff
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import expect, sync_playwright

from tests.browser.operator_page import OperatorPage
from tests.browser.pretending_service import start_pretending
from tests.browser.watched_page import WatchedPage, start_browser
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

TREES: Final = Path(__file__).with_name("trees")
SITES: Final = (
    *(f"edge-{number}" for number in range(1, 9)),
    "edge-login-1",
    "edge-login-2",
    "edge-space",
    "edge-hostile",
    "edge-slow",
)
# Of the pane, and a text that is there once everything is.
PANES: Final = {
    "overview": "Likely done",
    "overview?view=table": "edge-space",
    "problems": "Not enough space for the images",
    "sites/edge-space": "Not enough space for the images",
    "sites/edge-slow": "packages",
    "timeline": "Last site to end",
    "plan": "Refusals and warnings",
    "history": "applying",
    "history/1": "Permission denied (publickey,password)",
    "history/audit": "Answer",
    "health": "database",
}
_STRATEGY: Final = "/v1.0/sw-update-strategy"
# What differs from run to run, and what stands for it.
_MASKS: Final = (
    # Drawn texts of a chart, whose meaning is in its name.
    (r"(?m)^( *- '?img \".*?\"'?): .*$", r"\1"),
    (r"\b\d{4}-\d\d-\d\d[ T]", ""),
    (r"\b(?:\d{1,2} [A-Z][a-z]{2} )?\d\d:\d\d(?::\d\d)?\b(?:\.\d+)?", "TIME"),
    ("TIME\u2013TIME", "TIME"),
    (r"\b\d+ (?:h \d\d(?: min)?|min(?: \d+ s)?|s)\b", "DURATION"),
    (r"take DURATION to DURATION", "take DURATION"),
    (r"\b\d+\.\d sites/min", "PACE sites/min"),
    (r"\b[0-9a-f]{12}\b", "ID"),
    (r"\bcrash-\d+-\d+\b", "WORKER"),
    (r"\b127\.0\.0\.1:\d+", "ADDRESS"),
    (r"Prestager \d+\.\d+\.\d+", "Prestager VERSION"),
)
# More of it in single panes: the process's host, and which of two sites was the last one of a stage.
_OWN_MASKS: Final = {
    "health": ((rf"\b{re.escape(platform.node())}\b", "HOST"),),
    "timeline": ((r"\b(edge-(?:login-)?)\d", r"\1N"),),
}


def start_with_one_left(directory: Path) -> ServiceProcess:
    """Start a service whose strategy has one site left, which takes until it is stopped."""
    service = start_pretending(directory, SITES)
    for path, body in (("", {"type": "prestage", "sysadmin_password": "cHc="}), ("/actions", {"action": "apply"})):
        status, answer = service.ask("POST", f"{_STRATEGY}{path}", body)
        assert status == 200, answer
    wait_for(lambda: _stands(service), story=lambda: str(service.get(_STRATEGY)))
    return service


def _stands(service: ServiceProcess) -> bool:
    """Return whether all sites but one have ended, there is a forecast, and the worker has reported what it does."""
    progress = service.get(_STRATEGY)[1]["progress"]
    ended = progress["complete"] + progress["skipped"] + progress["failed"]
    running = [one["running"] for one in service.get("/v1.0/workers")[1]["workers"]]
    return ended == len(SITES) - 1 and progress["eta"] is not None and running == [1]


def _place_of(pane: str) -> str:
    return "#drawer" if pane.startswith("sites/") else "#main"


def show_pane(operator: OperatorPage, pane: str) -> None:
    """Open a pane, and wait until it has what makes it whole."""
    operator.open(pane)
    expect(operator.page.locator(_place_of(pane))).to_contain_text(PANES[pane])


def trees_of(operator: OperatorPage, service: ServiceProcess) -> Iterator[tuple[str, Callable[[], str]]]:
    """Go through the login, the frame and all panes; give the name of each and what tells its tree of now."""
    operator.open("login")
    expect(operator.page.get_by_label("Token", exact=True)).to_be_visible()
    yield "login", partial(_tree, operator, "login", "#main")
    operator.log_in(service.token)
    yield "frame", partial(_tree, operator, "frame", "#top")
    for pane in PANES:
        show_pane(operator, pane)
        name = re.sub(r"\W+", "-", pane)
        yield name, partial(_tree, operator, name, _place_of(pane))


def _tree(operator: OperatorPage, name: str, place: str) -> str:
    tree = operator.page.locator(place).aria_snapshot()
    for pattern, mask in (*_MASKS, *_OWN_MASKS.get(name, ())):
        tree = re.sub(pattern, mask, tree)
    return f"{tree}\n"


def difference(stored: str, tree: str) -> str:
    """Return what differs, and what to do about it."""
    lines = unified_diff(stored.splitlines(), tree.splitlines(), "stored", "now", lineterm="")
    return "\n".join([*lines, "If that is what it shall be: make page-trees, and read what it changed."])


def main() -> int:
    """Write the tree of each pane, once it no longer changes, and return the exit status."""
    TREES.mkdir(exist_ok=True)
    with TemporaryDirectory() as directory:
        service = start_with_one_left(Path(directory))
        try:
            with sync_playwright() as playwright, start_browser(playwright) as browser:
                operator = OperatorPage(WatchedPage.open(browser, f"http://127.0.0.1:{service.port}"))
                for name, tree in trees_of(operator, service):
                    (TREES / f"{name}.yml").write_text(_settled(operator, tree))
                    sys.stdout.write(f"tests/browser/trees/{name}.yml\n")
        finally:
            service.end()
    return 0


def _settled(operator: OperatorPage, tree: Callable[[], str]) -> str:
    """Return a tree that is the same for a second and a half."""
    seen = [tree()]

    def stands() -> bool:
        operator.page.wait_for_timeout(500)
        seen.append(tree())
        return len(seen) > 3 and len({*seen[-4:]}) == 1

    wait_for(stands)
    return seen[-1]


if __name__ == "__main__":
    sys.exit(main())
