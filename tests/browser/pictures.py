"""Take the pictures of the dashboard for README and docs/dashboard.md: `make page-pictures`.

They show a service of its own whose playbooks only pretend, at a moment that stays: all slots are taken by sites that
take until they are stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.operator_page import OperatorPage
from tests.browser.pretending_service import SLOTS, start_pretending
from tests.browser.watched_page import WatchedPage, start_browser
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

DIRECTORY: Final = Path(__file__).parents[2] / "docs" / "dashboard"
# Of the picture, the pane, and what is there once it is whole.
PANES: Final = {
    "overview": ("overview", "slowest first"),
    "problems": ("problems", "Not enough space for the images"),
    "site": ("sites/edge-0131-space", "Not enough space for the images"),
    "timeline": ("timeline", "Last site to end"),
    "plan": ("plan", "Refusals and warnings"),
    "history": ("history", "with failures"),
    "health": ("health", "database"),
}
WIDTH: Final = 12
SITES: Final = 240
# The sites before it have ended.
FIRST_SLOW: Final = 150
_STRATEGY: Final = "/v1.0/sw-update-strategy"
_GROUPS: Final = ("lab", "metro", "north", "coast")
_SIZES: Final = {"": (1280, 900), "-390": (390, 844)}


def _name(number: int) -> str:
    if FIRST_SLOW <= number < FIRST_SLOW + SLOTS:
        return f"edge-{number:04d}-slow"
    return f"edge-{number:04d}" + ("-login" if number % 23 == 7 else "-space" if number % 31 == 7 else "")


def main() -> int:
    """Take all pictures, print their names and sizes, and return the exit status."""
    DIRECTORY.mkdir(exist_ok=True)
    sites = {_name(number): {"prestager_group": _GROUPS[number * 4 // SITES]} for number in range(SITES)}
    with TemporaryDirectory() as directory:
        service = start_pretending(Path(directory), sites, run_s=0.2)
        try:
            _work(service)
            with sync_playwright() as playwright, start_browser(playwright) as browser:
                for theme in ("light", "dark"):
                    for suffix, (width, height) in _SIZES.items():
                        _take(browser, service, theme, suffix, {"width": width, "height": height})
        finally:
            service.end()
    return 0


def _send(service: ServiceProcess, method: str, path: str, content: dict[str, object] | None = None) -> None:
    status, answer = service.ask(method, path, content)
    assert status == 200, answer


def _work(service: ServiceProcess) -> None:
    """Have a strategy in the history, and another one at work."""
    first = {"type": "prestage", "sysadmin_password": "cHc=", "clouds": [_name(number) for number in range(1, 40)]}
    _send(service, "POST", _STRATEGY, first)
    _send(service, "POST", f"{_STRATEGY}/actions", {"action": "apply"})
    wait_for(lambda: service.get(_STRATEGY)[1]["state"] in ("failed", "complete"))
    _send(service, "DELETE", f"{_STRATEGY}?type=prestage")
    stages = [{"name": "canary", "count": 10}]
    rollout = {"mode": "window", "max-failures": "15%", "stages": stages}
    whole = {"type": "prestage", "sysadmin_password": "cHc=", "max-parallel-subclouds": WIDTH, "rollout": rollout}
    _send(service, "POST", _STRATEGY, whole)
    _send(service, "POST", f"{_STRATEGY}/actions", {"action": "apply"})

    def stands() -> bool:
        # On a busy machine others may be left that come after the slow ones.
        steps = service.get(f"{_STRATEGY}/steps?fields=cloud,run-state")[1]["strategy-steps"]
        running = [step["cloud"] for step in steps if step["run-state"] == "running"]
        return len(running) == SLOTS and all(name.endswith("-slow") for name in running)

    wait_for(stands, story=lambda: str(service.get(_STRATEGY)))


def _take(browser: Browser, service: ServiceProcess, theme: str, suffix: str, size: dict[str, int]) -> None:
    watched = WatchedPage.open(browser, f"http://127.0.0.1:{service.port}", color_scheme=theme, viewport=size)
    operator = OperatorPage(watched)
    operator.open("login")
    expect(watched.page.get_by_label("Token")).to_be_visible()
    _keep(watched, f"login-{theme}{suffix}")
    operator.log_in(service.token)
    for picture, (pane, text) in PANES.items():
        operator.open(pane)
        expect(watched.page.locator("body")).to_contain_text(text)
        _keep(watched, f"{picture}-{theme}{suffix}")
    watched.close()
    watched.judge()


def _keep(watched: WatchedPage, name: str) -> None:
    file = DIRECTORY / f"{name}.png"
    watched.page.screenshot(path=file, animations="disabled", caret="hide")
    sys.stdout.write(f"{file.relative_to(DIRECTORY.parent)} {file.stat().st_size // 1000} kB\n")


if __name__ == "__main__":
    sys.exit(main())
