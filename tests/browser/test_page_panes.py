"""Each pane of the dashboard with what a real run left, for everybody: without a mouse, without eyes, on a phone."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import expect

from tests.browser.operator_page import OpenPage, OperatorPage, operator_page
from tests.browser.pretending_service import start_pretending
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

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
    "history/audit": "strategy.apply",
    "health": "database",
}
# The whole page, in bytes.
MOST_COMPRESSED: Final = 200_000
# Pane, part of it, and what it tells; a tree may have more than is named here.
TREES: Final = (
    (
        "overview",
        "#top",
        """
        - banner:
          - link "Prestager"
          - navigation "Panes":
            - link "Overview"
            - link "Problems 4 failed"
            - link "Timeline"
            - link "Plan"
            - link "History"
            - link "Health"
          - button "Dark theme"
          - button "test, log out"
        """,
    ),
    (
        "overview",
        ".head",
        """
        - region "Strategy":
          - heading /Strategy 1/ [level=1]
          - button "Pause…"
          - button "Resume…" [disabled]
          - button "Retry 4 sites"
          - button "Limits…"
          - button "Abort…"
          - button "Cancel…"
          - img /8 complete, 4 failed, 1 packages/
          - group "Filter by state"
        """,
    ),
    (
        "overview",
        "#wall",
        """
        - listbox "Sites in stage order":
          - option /edge-1, .*stage 1/
        """,
    ),
    (
        "timeline",
        "#main",
        """
        - heading "Timeline" [level=1]
        - region "Sites in flight":
          - heading "Sites in flight" [level=2]
          - status
          - img /Sites in flight over time/
        - region /^Ended sites/:
          - img "12 of 13 sites ended, 4 failed"
        - region "Stages":
          - group "Stages":
            - table:
              - rowgroup:
                - row "Stage Sites Started Ended Took Group Failed Last site to end"
        """,
    ),
    (
        "plan",
        "#planform",
        """
        - group "What and where":
          - combobox "Release"
          - combobox "For"
          - combobox "Sites"
          - textbox "Left out, by name"
          - textbox "Left out, by labels"
        - group "In which order":
          - textbox "Sites at once"
          - combobox "Mode"
        - group "When it goes wrong":
          - textbox "Failures allowed"
          - combobox "Beyond that"
          - checkbox /Prestage in spite of alarms/
        - group "Password of the sites":
          - textbox "sysadmin"
          - textbox "Once more"
        """,
    ),
    (
        "history",
        "#main",
        """
        - heading "History" [level=1]
        - group "What is shown":
          - link "Strategies"
          - link "Audit"
        - table:
          - rowgroup:
            - row /No\\. Outcome Release Sites By Started Took How the sites ended/
        """,
    ),
)
STATIC: Final = Path(__file__).parents[2] / "ui" / "static"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service whose strategy has one site left, which takes until it is stopped."""
    service = start_pretending(tmp_path_factory.mktemp("service"), SITES)
    status, answer = service.ask("POST", "/v1.0/sw-update-strategy", {"type": "prestage", "sysadmin_password": "cHc="})
    assert status == 200, answer
    status, answer = service.ask("POST", "/v1.0/sw-update-strategy/actions", {"action": "apply"})
    assert status == 200, answer
    wait_for(lambda: _ended(service) == len(SITES) - 1, story=lambda: str(service.get("/v1.0/sw-update-strategy")))
    yield service
    service.end()


def _ended(service: ServiceProcess) -> int:
    progress = service.get("/v1.0/sw-update-strategy")[1]["progress"]
    return int(progress["complete"] + progress["skipped"] + progress["failed"])


def _operator(open_page: OpenPage, service: ServiceProcess, **options: object) -> OperatorPage:
    return operator_page(open_page, f"http://127.0.0.1:{service.port}", service.token, **options)


def _show(operator: OperatorPage, pane: str) -> None:
    operator.open(pane)
    place = "#drawer" if pane.startswith("sites/") else "#main"
    expect(operator.page.locator(place)).to_contain_text(PANES[pane])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_every_pane(service: ServiceProcess, open_page: OpenPage, theme: str) -> None:
    """No pane has a serious or critical finding of axe, in either theme."""
    operator = _operator(open_page, service, color_scheme=theme)
    assert operator.page.locator("html").get_attribute("data-theme") == theme
    findings = []
    for pane in PANES:
        _show(operator, pane)
        findings += [f"{pane}: {text}" for text in operator.watched.grave_findings()]
    assert findings == []


def test_everybody_can_log_in(service: ServiceProcess, open_page: OpenPage) -> None:
    """The login has no serious or critical finding of axe, and says what is wrong with a token."""
    operator = OperatorPage(open_page(f"http://127.0.0.1:{service.port}"))
    operator.watched.expected.append("401 (Unauthorized)")
    operator.open("login")
    operator.page.get_by_label("Token").fill("prst_unknown")
    operator.page.get_by_role("button", name="Log in").click()
    expect(operator.page.get_by_role("alert")).to_contain_text("token")
    assert operator.watched.grave_findings() == []
    assert operator.page.get_by_label("Token").input_value() == "prst_unknown"


def test_a_phone(service: ServiceProcess, open_page: OpenPage) -> None:
    """At 390 pixels no pane scrolls sideways, and none has a serious or critical finding of axe."""
    operator = _operator(open_page, service, viewport={"width": 390, "height": 844})
    findings = []
    for pane in PANES:
        _show(operator, pane)
        findings += [f"{pane}: {text}" for text in operator.watched.grave_findings()]
        wide = operator.page.evaluate("document.documentElement.scrollWidth")
        findings += [f"{pane}: {wide} pixels wide"] if wide > 390 else []
    assert findings == []


def test_hostile_texts_stay_texts(service: ServiceProcess, open_page: OpenPage) -> None:
    """A failure message with markup and a script is shown as it is, and nothing of it happens."""
    operator = _operator(open_page, service)
    for pane in ("overview", "problems", "sites/edge-hostile", "overview?view=table", "history/1"):
        operator.open(pane)
        expect(operator.page.locator("body")).to_contain_text("<script>")
        assert operator.page.evaluate("window.harmed") is None
        assert operator.page.locator("img").count() == 0


def test_the_themes(service: ServiceProcess, open_page: OpenPage) -> None:
    """A chosen theme stays after the page was loaded again."""
    operator = _operator(open_page, service, color_scheme="light")
    operator.page.get_by_role("button", name="Dark theme").click()
    expect(operator.page.locator("html")).to_have_attribute("data-theme", "dark")
    operator.page.reload()
    operator.await_live()
    expect(operator.page.locator("html")).to_have_attribute("data-theme", "dark")


def test_what_the_timeline_reads(service: ServiceProcess, open_page: OpenPage) -> None:
    """The arrow keys on the chart tell how many sites were in flight, ended and failed at a time."""
    operator = _operator(open_page, service)
    _show(operator, "timeline")
    operator.page.locator("#chart").focus()
    operator.page.keyboard.press("End")
    expect(operator.page.locator("#readout")).to_contain_text("1 in flight")
    expect(operator.page.locator("#readout")).to_contain_text("12 ended, 4 failed")
    operator.page.keyboard.press("Home")
    expect(operator.page.locator("#readout")).to_contain_text("0 ended, 0 failed")
    # The history leads to the same.
    operator.open("history/1")
    operator.page.locator("#main").get_by_role("link", name="timeline", exact=True).click()
    expect(operator.page.locator("#main")).to_contain_text("Last site to end")


def test_the_health_names_the_worker(service: ServiceProcess, open_page: OpenPage) -> None:
    """Health shows the worker with its slots, and that everything is good."""
    operator = _operator(open_page, service)
    _show(operator, "health")
    row = operator.page.locator("tbody tr").filter(has_text=service.worker)
    expect(row).to_contain_text("1 of 8")
    expect(row).to_contain_text("at work")
    expect(operator.page.locator(".headline .facts")).to_contain_text("Work has all that it needs")


def test_the_plan_says_why_not(service: ServiceProcess, open_page: OpenPage) -> None:
    """The preview names what is refused, and Create says why it is not possible when it is pressed."""
    operator = _operator(open_page, service)
    operator.watched.expected.append("400 (Bad Request)")
    _show(operator, "plan")
    expect(operator.page.locator("#preview .refuse")).to_contain_text("strategy")
    create = operator.page.get_by_role("button", name="Create strategy")
    expect(create).to_have_attribute("aria-disabled", "true")
    # It can be pressed: what is greyed so still tells why.
    create.click(force=True)
    expect(operator.page.locator("#toasts")).to_contain_text("Not now: see the refusals above.")
    operator.page.get_by_label("Failures allowed").fill("many")
    expect(operator.page.locator("#preview")).to_contain_text("max-failures")
    operator.page.get_by_label("Failures allowed").fill("5%")
    expect(operator.page.locator("#preview .answer")).to_contain_text("sites in")
    expect(operator.page.locator("#preview")).to_contain_text("Likely to take")


def test_the_size() -> None:
    """All files of the page are below 200 kB, compressed."""
    files = [path for path in STATIC.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < MOST_COMPRESSED


def test_all_files_are_asked_for_at_once() -> None:
    """The document names every module and style of the page, so that no file waits for another one to be read."""
    names = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.suffix in {".js", ".css"}}
    named = re.findall(r'(?:href|src)="/ui/([^"]+)"', (STATIC / "index.html").read_text())
    assert sorted(names) == sorted(named)


def test_what_screen_readers_are_told(service: ServiceProcess, open_page: OpenPage) -> None:
    """The trees of accessibility of frame, head, form, chart and tables are those that were looked at once."""
    operator = _operator(open_page, service)
    for pane, place, tree in TREES:
        _show(operator, pane)
        expect(operator.page.locator(place)).to_match_aria_snapshot(tree)
