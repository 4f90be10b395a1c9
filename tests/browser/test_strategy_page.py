"""The page follows a real strategy and gives its commands, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from db.tokens import Role
from tests.browser.operator_page import OpenPage, OperatorPage, operator_page
from tests.browser.pretending_service import HOSTILE, start_pretending
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

STRATEGY = "/v1.0/sw-update-strategy"
# Two sites that go well, two that refuse the password, one without room, one that fails with a text that would do
# harm, and one that takes until somebody stops it.
SITES = ("edge-1", "edge-2", "edge-3-login", "edge-4-login", "edge-5-space", "edge-6-hostile", "edge-7-slow")
REASON = "storm <b>tonight</b>"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service with sites."""
    service = start_pretending(tmp_path_factory.mktemp("service"), SITES)
    yield service
    service.end()


@pytest.fixture
def strategy(service: ServiceProcess) -> Iterator[int]:
    """Number of an applied strategy of which all sites but the slow one have ended; it is gone afterwards."""
    body = {"type": "prestage", "sysadmin_password": "cHc=", "max-parallel-subclouds": 20}
    status, made = service.ask("POST", STRATEGY, body)
    assert status == 200, made
    _act(service, {"action": "apply"})
    wait_for(lambda: _progress(service)["complete"] == 2 and _progress(service)["failed"] == 4)
    yield made["id"]
    if service.get(STRATEGY)[1]["state"] == "applying":
        _act(service, {"action": "cancel", "grace-s": 0})
    wait_for(lambda: "delete" in service.get(STRATEGY)[1]["commands"])
    service.ask("DELETE", f"{STRATEGY}?type=prestage")


def _act(service: ServiceProcess, body: dict[str, Any]) -> None:
    status, answer = service.ask("POST", f"{STRATEGY}/actions?type=prestage", body)
    assert status == 200, answer


def _progress(service: ServiceProcess) -> dict[str, int]:
    progress: dict[str, int] = service.get(STRATEGY)[1]["progress"]
    return progress


def _step(service: ServiceProcess, site: str) -> dict[str, Any]:
    step: dict[str, Any] = service.get(f"{STRATEGY}/steps/{site}")[1]
    return step


def _log_in(service: ServiceProcess, open_page: OpenPage, role: Role = Role.ADMIN, **options: Any) -> OperatorPage:
    """Open the page as the administrator `test`, or as somebody with another role."""
    token = service.token if role == Role.ADMIN else service.token_of(f"the-{role}", role)
    return operator_page(open_page, f"http://127.0.0.1:{service.port}", token, **options)


def _command(page: Page, name: str) -> Locator:
    return page.locator(".head .commands").get_by_role("button", name=name)


def _confirm(page: Page) -> None:
    """Press the button of the open dialog that does it, and wait until the dialog is gone."""
    page.locator("dialog button[type=submit]").click()
    expect(page.locator("dialog")).to_have_count(0)


def test_pause_and_resume(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """A pause wants a reason, which stands in the banner with the caller; a resume takes the banner away."""
    operator = _log_in(service, open_page)
    page = operator.page
    _command(page, "Pause").click()
    page.locator("dialog button[type=submit]").click()
    expect(page.get_by_role("alert").filter(has_text="Please say why")).to_be_visible()
    page.locator("dialog input[name=reason]").fill(REASON)
    _confirm(page)
    banner = page.locator(".banner")
    expect(banner).to_contain_text(f"“{REASON}”")
    expect(banner).to_contain_text("Held by test")
    held = service.get(STRATEGY)[1]["holds"]
    assert [(REASON, "starts")] == [(hold["reason"], hold["scope"]) for hold in held]

    _command(page, "Resume").click()
    _confirm(page)
    expect(banner).to_have_count(0)
    assert service.get(STRATEGY)[1]["holds"] == []


def test_what_others_do_is_shown(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """What somebody else commands comes by the stream, without a reload."""
    operator = _log_in(service, open_page)
    page = operator.page
    expect(page.get_by_role("heading", name=f"Strategy {strategy}")).to_contain_text("Applying")
    _act(service, {"action": "pause", "reason": "by another"})
    expect(page.locator(".banner")).to_contain_text("by another")
    service.ask("POST", f"{STRATEGY}/steps/edge-7-slow/cancel", {"grace-s": 0})
    expect(page.locator(".legend button[data-state=aborted]")).to_contain_text("1")


def test_retry_these(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """Sites with one cause are tried again alone; where the password was refused another one is needed."""
    operator = _log_in(service, open_page)
    page = operator.page
    operator.open("problems")
    page.locator("details", has_text="login").get_by_role("button", name="Retry these 2").click()
    page.locator("dialog button[type=submit]").click()
    expect(page.locator("dialog .err")).to_contain_text("give another")
    page.locator("dialog input[name=password]").fill("another")
    _confirm(page)
    expect(page.locator("#toasts")).to_contain_text("2 sites are tried again")
    assert [1, 2, 2, 1] == [
        _step(service, site)["series"] for site in ("edge-1", "edge-3-login", "edge-4-login", "edge-5-space")
    ]
    assert service.get(STRATEGY)[1]["holds"] == []


def test_filter(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """State, text and problem filter wall and table alike; the address keeps the filter, and a reload shows it."""
    operator = _log_in(service, open_page)
    page = operator.page
    page.locator(".legend button[data-state=failed]").click()
    expect(page.get_by_text("4 of 7 sites")).to_be_visible()
    page.get_by_role("button", name="Table").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(4)
    page.get_by_role("searchbox", name="Find sites").fill("login")
    expect(rows).to_have_count(2)
    assert "state=failed" in page.url
    assert "q=login" in page.url
    page.reload()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Clear filter").click()
    expect(rows).to_have_count(7)
    page.get_by_role("searchbox", name="Find sites").fill("nowhere")
    expect(page.get_by_role("heading", name="No site matches")).to_be_visible()


def test_keyboard(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """A failed site is found, opened, passed on from and closed with keys; the focus goes back to the wall."""
    operator = _log_in(service, open_page)
    page = operator.page
    expect(page.locator("#wallbox canvas")).to_be_visible()
    page.keyboard.press("f")
    option = page.locator("#wall-active")
    expect(option).to_contain_text("edge-3-login, stage 1")
    expect(option).to_contain_text("failed")
    page.keyboard.press("ArrowLeft")
    expect(option).to_contain_text("edge-2, stage 1")
    page.keyboard.press("Shift+F")
    expect(option).to_contain_text("edge-6-hostile")
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_role("heading", name="edge-6-hostile")).to_be_visible()
    page.keyboard.press("[")
    expect(sheet.get_by_role("heading", name="edge-5-space")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search the log")).to_be_focused()
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(page.locator("#wall")).to_be_focused()
    page.keyboard.press("2")
    expect(page.get_by_role("heading", name="Problems", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()


def test_hostile_text(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """A failure's text that looks like markup stands there as text, wherever it is shown, and nothing of it runs."""
    operator = _log_in(service, open_page)
    page = operator.page
    for pane in ("overview", "overview?view=table", "problems", "sites/edge-6-hostile"):
        operator.open(pane)
        expect(page.locator("body")).to_contain_text("<img src=x")
    expect(page.locator(".say pre")).to_contain_text(HOSTILE.replace("\u202e", "")[:40])
    expect(page.get_by_role("log")).to_contain_text("<script>")
    assert page.evaluate("window.harmed") is None
    assert page.locator("main img, #drawer img, main script, #drawer script").count() == 0


def test_one_site(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """The sheet says why the site is where it is, follows its log, and holds, releases and cancels it."""
    operator = _log_in(service, open_page)
    page = operator.page
    operator.open("sites/edge-7-slow")
    sheet = page.get_by_role("dialog")
    expect(sheet.locator(".say")).to_contain_text("packages for")
    expect(page.get_by_role("log")).to_contain_text("TASK [Take packages]")
    page.get_by_role("searchbox", name="Search the log").fill("take packages")
    expect(page.get_by_role("log").locator("mark")).to_have_text("Take packages")
    part = page.get_by_role("combobox", name="Part of the log")
    part.select_option(label="prepare, attempt 1, succeeded")
    expect(page.get_by_role("log")).not_to_contain_text("Take packages")
    expect(page.get_by_role("log")).to_contain_text("TASK [prepare_prestage_packages]")
    expect(sheet.locator(".phases .lane .g-packages")).to_have_count(1)

    sheet.get_by_role("button", name="Hold").click()
    page.locator("dialog input[name=reason]").fill("generator test")
    _confirm(page)
    assert _step(service, "edge-7-slow")["held"]["reason"] == "generator test"
    sheet.get_by_role("button", name="Release").click()
    wait_for(lambda: _step(service, "edge-7-slow")["held"] is None)
    sheet.get_by_role("button", name="Cancel this site").click()
    page.locator("dialog input[name=grace]").fill("0")
    _confirm(page)
    wait_for(lambda: _step(service, "edge-7-slow")["outcome"] == "cancelled")
    expect(sheet.locator(".say")).to_contain_text("aborted")


def test_cancel_wants_the_number(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """A cancel tells what is stopped and what stays, and wants the number of the strategy typed."""
    operator = _log_in(service, open_page)
    page = operator.page
    _command(page, "Cancel").click()
    expect(page.locator("dialog .touch")).to_contain_text("1 site in flight")
    expect(page.locator("dialog .touch")).to_contain_text("6 sites that have ended")
    page.locator("dialog input[name=confirmed]").fill(str(strategy + 1))
    page.locator("dialog button[type=submit]").click()
    expect(page.locator("dialog .err")).to_contain_text(f"Type {strategy}")
    page.locator("dialog input[name=confirmed]").fill(str(strategy))
    page.locator("dialog input[name=grace]").fill("0")
    _confirm(page)
    expect(page.get_by_role("heading", name=f"Strategy {strategy}")).to_contain_text("Ended with failures")


def test_commands_that_are_not_legal(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """A command that is not legal now is there, greyed, with its reason; a reader may give none."""
    operator = _log_in(service, open_page)
    page = operator.page
    resume = _command(page, "Resume")
    expect(resume).to_have_attribute("aria-disabled", "true")
    resume.click(force=True)
    expect(page.locator("#toasts")).to_contain_text("Not now: nothing is held.")
    expect(_command(page, "Pause")).not_to_have_attribute("aria-disabled", "true")

    other = _log_in(service, open_page, Role.READER).page
    for name in ("Pause", "Retry", "Abort", "Cancel"):
        expect(_command(other, name)).to_have_attribute("data-why", re.compile("your role"))


def test_a_gate(service: ServiceProcess, open_page: OpenPage) -> None:
    """At a gate the page says what is waited for; who made the strategy may not approve, somebody else may."""
    stages = [{"name": "canary", "clouds": ["edge-1"], "gate": "approval"}, {"name": "wave", "clouds": ["edge-2"]}]
    body = {
        "type": "prestage",
        "sysadmin_password": "cHc=",
        "clouds": ["edge-1", "edge-2"],
        "rollout": {"mode": "window", "stages": stages},
    }
    status, made = service.ask("POST", STRATEGY, body)
    assert status == 200, made
    _act(service, {"action": "apply"})
    wait_for(lambda: "approve" in service.get(STRATEGY)[1]["commands"] and _progress(service)["complete"] == 1)

    creator = _log_in(service, open_page).page
    banner = creator.locator(".banner")
    expect(banner).to_contain_text("Waiting for an approval")
    expect(banner.get_by_role("button", name="Approve")).to_have_attribute("data-why", re.compile("somebody else"))

    other = _log_in(service, open_page, Role.CONFIGURATOR).page
    other.locator(".banner").get_by_role("button", name="Approve").click()
    other.locator("dialog input[name=note]").fill("looks good")
    _confirm(other)
    wait_for(lambda: service.get(STRATEGY)[1]["state"] == "complete")
    expect(creator.get_by_role("heading", name=f"Strategy {made['id']}")).to_contain_text("Complete")
    decision = service.get(STRATEGY)[1]["rollout"]["stages"][0]["decision"]
    assert (decision["by"], decision["note"]) == ("the-configurator", "looks good")
    service.ask("DELETE", f"{STRATEGY}?type=prestage")


def test_limits(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """The failures that are allowed are changed while the strategy runs; what the API refuses is said in the dialog."""
    operator = _log_in(service, open_page)
    operator.watched.expected.append("400 (Bad Request)")
    page = operator.page
    _command(page, "Limits").click()
    page.locator("dialog input[name=failures]").fill("many")
    page.locator("dialog button[type=submit]").click()
    expect(page.locator("dialog .err")).to_contain_text("max-failures")
    page.locator("dialog input[name=failures]").fill("6")
    _confirm(page)
    assert service.get(STRATEGY)[1]["rollout"]["max-failures"] == 6
    expect(page.locator(".fig", has_text="Failure budget")).to_contain_text("4 of 6")


def test_no_strategy(service: ServiceProcess, open_page: OpenPage) -> None:
    """Without a strategy the page tells what is ready, leads to the plan, and shows the next one as it is made."""
    operator = _log_in(service, open_page)
    page = operator.page
    expect(page.get_by_role("heading", name="No strategy yet")).to_be_visible()
    expect(page.get_by_text("7 of 7 sites are managed and online")).to_be_visible()
    body = {"type": "prestage", "sysadmin_password": "cHc=", "subcloud-apply-type": "serial"}
    status, made = service.ask("POST", STRATEGY, body)
    assert status == 200, made
    expect(page.get_by_role("heading", name=f"Strategy {made['id']}")).to_contain_text("Not applied yet")
    _command(page, "Delete").click()
    _confirm(page)
    expect(page.get_by_role("heading", name="No strategy yet")).to_be_visible()


def test_everybody_can_use_every_dialog(service: ServiceProcess, open_page: OpenPage) -> None:
    """No dialog has a serious or critical finding of axe, wide and light or narrow and dark, nor scrolls sideways."""
    stages = [{"name": "canary", "clouds": ["edge-1", "edge-5-space"], "gate": "approval"}]
    stages += [{"name": "wave", "clouds": ["edge-2", "edge-7-slow"]}]
    clouds = [name for stage in stages for name in stage["clouds"]]
    asked = {"type": "prestage", "sysadmin_password": "cHc=", "clouds": clouds}
    status, made = service.ask("POST", STRATEGY, {**asked, "rollout": {"mode": "window", "stages": stages}})
    assert status == 200, made
    # Somebody else, for who made it may not approve.
    token, origin = service.token_of("another", Role.CONFIGURATOR), f"http://127.0.0.1:{service.port}"
    wide = operator_page(open_page, origin, token, color_scheme="light")
    small = {"width": 390, "height": 844}
    both = (wide, operator_page(open_page, origin, token, color_scheme="dark", viewport=small))

    _look_at_dialogs(both, "overview", ".head", "Apply…", "Limits…", "Delete…")
    _act(service, {"action": "apply"})
    wait_for(lambda: any(hold["kind"] == "gate" for hold in service.get(STRATEGY)[1]["holds"]))
    _look_at_dialogs(both, "overview", "#banners", "Approve…", "Deny…")
    _look_at_dialogs(both, "overview", ".head", "Pause…", "Retry…", "Abort…", "Cancel…")
    _look_at_dialogs(both, "sites/edge-7-slow", "#drawer", "Hold…", "Cancel this site…")
    _act(service, {"action": "pause", "reason": "axe", "scope": "phases"})
    _look_at_dialogs(both, "overview", ".head", "Resume…")
    _act(service, {"action": "cancel", "grace-s": 0})
    wait_for(lambda: "delete" in service.get(STRATEGY)[1]["commands"])
    _look_at_dialogs(both, "overview", ".head", "Retry…", "Delete…")
    service.ask("DELETE", f"{STRATEGY}?type=prestage")


def _look_at_dialogs(operators: Iterable[OperatorPage], pane: str, place: str, *names: str) -> None:
    for operator in operators:
        operator.open(pane)
        for name in names:
            # A retry names how many sites it is for.
            label = re.compile(name.replace("…", ".*…"))
            button = operator.page.locator(place).get_by_role("button").filter(has_text=label).first
            expect(button).not_to_have_attribute("aria-disabled", "true")
            button.click()
            expect(operator.dialog).to_be_visible()
            assert operator.watched.grave_findings(place="dialog[open]") == [], name
            assert operator.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            operator.page.keyboard.press("Escape")
            expect(operator.dialog).to_have_count(0)
