"""Strategies that the page makes, by the form and from the history, of sites whose names would do harm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import pytest
from playwright.sync_api import expect
from sqlalchemy import update

from db.database import Database
from db.schema import holds
from db.tokens import Role
from statemachine.rollout import HoldKind
from tests.browser.operator_page import Mouse, OpenPage, OperatorPage, operator_page
from tests.browser.pretending_service import start_pretending
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

STRATEGY: Final = "/v1.0/sw-update-strategy"
# All that names of sites allow: letters from right to left, words of the language of the page, and length.
SITES: Final = ("__proto__", "constructor", "\u05e9\u05dc\u05d5\u05dd-1", f"edge-{'x' * 95}", "edge-login")
# Groups may have any other sign: markup, quotes, and letters that turn what follows.
GROUP: Final = "<img src=x onerror='window&#46;harmed=1'><b>\u202egroup \"&amp;"
PASSWORD: Final = "cHc="
# Of a soak time, in minutes: longer than any test, for it is ended by hand.
SOAK_MINUTES: Final = "90"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service with sites of one group; one of them refuses the password."""
    sites = {name: {"prestager_group": GROUP} for name in SITES}
    service = start_pretending(tmp_path_factory.mktemp("service"), sites)
    yield service
    service.end()


@pytest.fixture(autouse=True)
def _room(service: ServiceProcess) -> Iterator[None]:
    """Leave no strategy behind."""
    yield
    status, found = service.get(STRATEGY)
    if status == HTTPStatus.NOT_FOUND:
        return
    if "cancel" in found["commands"]:
        _send(service, f"{STRATEGY}/actions", {"action": "cancel", "grace-s": 0})
    wait_for(lambda: "delete" in _strategy(service)["commands"])
    assert service.ask("DELETE", f"{STRATEGY}?type=prestage")[0] == HTTPStatus.OK


def _send(service: ServiceProcess, path: str, body: dict[str, Any]) -> Any:
    status, answer = service.ask("POST", path, body)
    assert status == HTTPStatus.OK, answer
    return answer


def _strategy(service: ServiceProcess) -> Any:
    status, found = service.get(STRATEGY)
    assert status == HTTPStatus.OK, found
    return found


def _run(service: ServiceProcess) -> int:
    """Make and apply a strategy, wait for its end and return its number."""
    number = int(_send(service, STRATEGY, {"type": "prestage", "sysadmin_password": PASSWORD})["id"])
    _send(service, f"{STRATEGY}/actions", {"action": "apply"})
    wait_for(lambda: _strategy(service)["state"] == "failed", story=lambda: str(_strategy(service)))
    return number


def _end_soak(service: ServiceProcess) -> None:
    """Let the time have passed for which later stages wait."""
    database = Database(service.database_url)
    try:
        with database.write() as connection:
            ended = update(holds).where(holds.c.kind == HoldKind.SOAK).values(until=holds.c.since)
            assert connection.execute(ended).rowcount == 1
    finally:
        database.close()


def _log_in(service: ServiceProcess, open_page: OpenPage, token: str = "") -> OperatorPage:
    return operator_page(open_page, f"http://127.0.0.1:{service.port}", token or service.token)


def _require_harmless(operator: OperatorPage, pane: str) -> None:
    assert operator.page.evaluate("window.harmed") is None, pane
    assert operator.page.locator("main img, #drawer img, main b > i, dialog img").count() == 0, pane
    wide = operator.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{pane} is {wide} pixels too wide"


def test_names_that_would_do_harm(service: ServiceProcess, open_page: OpenPage) -> None:
    """Names of sites and groups are shown as they are, wherever they stand: nothing of them runs, turns or spills."""
    number = _run(service)
    operator = _log_in(service, open_page)
    for pane in ("overview?view=table", f"history/{number}"):
        operator.open(pane)
        for site in SITES:
            expect(operator.page.locator("#main").get_by_text(site, exact=True).first).to_be_visible()
        _require_harmless(operator, pane)
    for pane in ("overview?view=table", "timeline"):
        operator.open(pane)
        expect(operator.page.locator("#main")).to_contain_text(GROUP)
        _require_harmless(operator, pane)
    for site in SITES:
        operator.open(f"sites/{site}")
        expect(operator.page.locator("#drawer").get_by_role("heading", name=site, exact=True)).to_be_visible()
        expect(operator.page.locator("#drawer .phases")).to_be_visible()
        _require_harmless(operator, site)
    operator.page.keyboard.press("Escape")
    operator.open("overview")
    wall = operator.page.locator("#wall")
    wall.focus()
    operator.page.keyboard.press("Home")
    for site in SITES:
        expect(operator.page.locator("#wall-active")).to_contain_text(site)
        operator.page.keyboard.press("ArrowRight")
    _require_harmless(operator, "wall")


def test_a_rollout_by_the_form(service: ServiceProcess, open_page: OpenPage) -> None:
    """Canary, soak time and gate are chosen in the form, seen in the preview, and kept; another one approves."""
    operator, hand = _log_in(service, open_page), Mouse()
    page = operator.page
    operator.open("plan")
    # The releases are those that workers see.
    expect(page.get_by_label("Release")).to_contain_text("23.09")
    hand.choose(page.get_by_label("Release"), "23.09 (no package feed)")
    hand.choose(page.get_by_label("Sites", exact=True), "One group")
    hand.choose(page.get_by_label("Group"), f"{GROUP} ({len(SITES)} sites)")
    hand.write(page.get_by_label("Left out, by name"), "edge-login")
    hand.choose(page.get_by_label("Mode"), "Sliding window")
    hand.write(page.get_by_label("Canaries first"), "1")
    hand.write(page.get_by_label("Then wait, minutes"), SOAK_MINUTES)
    page.get_by_label("Somebody approves after the canaries").check()
    preview = page.locator("#preview")
    expect(preview.locator(".answer")).to_have_text("4 sites in 2 stages")
    expect(preview.locator(".stg .gate")).to_contain_text("waits 90 min, then somebody approves")
    _require_harmless(operator, "plan")
    hand.write(page.get_by_label("sysadmin"), "secret")
    hand.write(page.get_by_label("Once more"), "secret")
    hand.press(page.get_by_role("button", name="Create strategy for 4 sites"))
    operator.await_state("Not applied yet")
    hand.press(operator.button("Apply…"))
    hand.press(operator.dialog.get_by_role("button", name="Apply"))

    banner = page.locator(".banner")
    expect(banner).to_contain_text("Stage canary has ended and soaks. It ends at")
    assert _strategy(service)["progress"]["complete"] == 1
    _end_soak(service)
    expect(banner).to_contain_text("Waiting for an approval")
    assert _strategy(service)["progress"]["not-started"] == 3
    why = re.compile("you made this strategy")
    expect(banner.get_by_role("button", name="Approve")).to_have_attribute("data-why", why)

    other = _log_in(service, open_page, service.token_of("another", Role.CONFIGURATOR))
    hand.press(other.page.locator(".banner").get_by_role("button", name="Approve"))
    hand.write(other.dialog.get_by_label("Note"), "looks good")
    hand.press(other.dialog.get_by_role("button", name="Approve"))
    operator.await_state("Complete")
    other.await_state("Complete")
    canary = _strategy(service)["rollout"]["stages"][0]
    assert (canary["name"], canary["soak-s"], canary["gate"]) == ("canary", 5400, "approval")
    assert (canary["decision"]["by"], canary["decision"]["note"]) == ("another", "looks good")


def test_a_retry_from_the_history(service: ServiceProcess, open_page: OpenPage) -> None:
    """A retry in the history wants a password, makes a strategy of what failed, and links the two."""
    number = _run(service)
    operator, hand = _log_in(service, open_page), Mouse()
    page = operator.page
    operator.open("history")
    hand.press(page.get_by_role("button", name=f"Retry 1 site of strategy {number}"))
    retry = operator.dialog.get_by_role("button", name="Retry")
    hand.press(retry)
    expect(operator.dialog.get_by_role("alert")).to_contain_text("The password is needed")
    hand.write(operator.dialog.get_by_label("Password of the sites"), "right")
    operator.dialog.get_by_label("Start at once").uncheck()
    hand.press(retry)
    operator.await_state("Not applied yet")
    later = _strategy(service)
    assert (later["retry-of"], later["progress"]["total"]) == (number, 1)
    operator.open("history")
    row = page.locator("tbody tr", has_text=f"retried as {later['id']}")
    expect(row.get_by_role("link", name=str(number), exact=True)).to_be_visible()
    expect(row.get_by_role("button", name="Retry")).to_have_count(0)
    hand.press(row.get_by_role("link", name=str(later["id"]), exact=True))
    expect(page.locator("#main")).to_contain_text(f"retry of {number}")
