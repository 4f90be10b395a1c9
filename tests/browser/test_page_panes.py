"""Each pane of the dashboard with what a real run left, for everybody: without a mouse, without eyes, on a phone."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import expect

from messages.commands import CommandType
from tests.browser.operator_page import OpenPage, OperatorPage, hand_of, operator_page
from tests.browser.pane_trees import PANES, TREES, difference, show_pane, start_with_one_left, trees_of
from tests.browser.watched_page import CONTRAST
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

# The whole page, in bytes.
MOST_COMPRESSED: Final = 200_000
# Longest wait for a tree that is still being made, in seconds.
WAIT_S: Final = 30.0
STATIC: Final = Path(__file__).parents[2] / "ui" / "static"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service whose strategy has one site left, which takes until it is stopped."""
    service = start_with_one_left(tmp_path_factory.mktemp("service"))
    yield service
    service.end()


def _operator(open_page: OpenPage, service: ServiceProcess, **options: object) -> OperatorPage:
    return operator_page(open_page, f"http://127.0.0.1:{service.port}", service.token, **options)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_every_pane(service: ServiceProcess, open_page: OpenPage, theme: str) -> None:
    """No pane has a serious or critical finding of axe, in either theme."""
    operator = _operator(open_page, service, color_scheme=theme)
    assert operator.page.locator("html").get_attribute("data-theme") == theme
    findings = []
    # Of the other theme the colours alone are others.
    tags = () if theme == "light" else (CONTRAST,)
    for pane in PANES:
        show_pane(operator, pane)
        findings += [f"{pane}: {text}" for text in operator.watched.grave_findings(*tags)]
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
        show_pane(operator, pane)
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
    show_pane(operator, "timeline")
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


def test_the_likely_end_moves_on(service: ServiceProcess, open_page: OpenPage) -> None:
    """The forecast is read again while nothing happens, so that an end which did not come is never shown as likely."""
    operator = _operator(open_page, service)
    show_pane(operator, "overview")
    asked = operator.watched.origin + "/v1.0/sw-update-strategy?type=prestage"
    for _ in range(2):
        with operator.page.expect_response(asked) as read:
            pass
        assert read.value.status == 200


def test_the_health_names_the_worker(service: ServiceProcess, open_page: OpenPage) -> None:
    """Health shows the worker with its slots, and that everything is good."""
    operator = _operator(open_page, service)
    show_pane(operator, "health")
    row = operator.page.locator("tbody tr").filter(has_text=service.worker)
    expect(row).to_contain_text("1 of 8")
    expect(row).to_contain_text("at work")
    expect(operator.page.locator(".headline .facts")).to_contain_text("Work has all that it needs")


def test_the_audit_is_narrowed(service: ServiceProcess, open_page: OpenPage) -> None:
    """Caller and type of command narrow the audit, by keyboard alone; the address keeps both, and a reload shows it."""
    operator = _operator(open_page, service)
    show_pane(operator, "history/audit")
    page, hand = operator.page, hand_of("keyboard", operator.page)
    command = page.get_by_label("Command", exact=True)
    types = command.locator("option").evaluate_all("options => options.map(option => option.value)")
    assert types == ["", *CommandType]
    rows = page.locator("#main tbody tr")
    hand.choose(command, "strategy.appl")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("strategy.apply")
    hand.write(page.get_by_label("Find by caller"), "nobody")
    expect(page.locator("#main")).to_contain_text("No entry.")
    hand.write(page.get_by_label("Find by caller"), "test")
    expect(rows).to_have_count(1)
    assert "caller=test" in page.url
    page.reload()
    expect(rows).to_have_count(1)
    expect(command).to_have_value("strategy.apply")
    page.get_by_role("link", name="Audit").click()
    expect(page.locator("#main")).to_contain_text("strategy.create")


def test_the_plan_says_why_not(service: ServiceProcess, open_page: OpenPage) -> None:
    """The preview names what is refused, and Create says why it is not possible when it is pressed."""
    operator = _operator(open_page, service)
    operator.watched.expected.append("400 (Bad Request)")
    show_pane(operator, "plan")
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
    """The tree of accessibility of each pane is the one that somebody read; `make page-trees` writes what it is now."""
    operator = OperatorPage(open_page(f"http://127.0.0.1:{service.port}"))
    for name, tree in trees_of(operator, service):
        _require_stored(name, tree)


def _require_stored(name: str, tree: Callable[[], str]) -> None:
    stored = (TREES / f"{name}.yml").read_text()
    wait_for(lambda: tree() == stored, WAIT_S, lambda: f"{name}: {difference(stored, tree())}")
