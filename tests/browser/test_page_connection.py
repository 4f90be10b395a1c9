"""The dashboard while the service goes away and comes back, sessions end, and people may do less."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from db.database import Database
from db.tokens import Role, TokenStore
from tests.browser.operator_page import OpenPage, OperatorPage, operator_page
from tests.browser.pretending_service import start_pretending
from tests.support.service_process import ServiceProcess

SITES = ("edge-1", "edge-login", "edge-slow")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service whose strategy has one site that takes until it is stopped."""
    service = start_pretending(tmp_path_factory.mktemp("service"), SITES)
    for path, content in (
        ("", {"type": "prestage", "sysadmin_password": "cHc=", "max-parallel-subclouds": 3}),
        ("/actions", {"action": "apply"}),
    ):
        status, answer = service.ask("POST", f"/v1.0/sw-update-strategy{path}", content)
        assert status == 200, answer
    yield service
    service.end()


def _origin(service: ServiceProcess) -> str:
    return f"http://127.0.0.1:{service.port}"


def _expect_failed(operator: OperatorPage, count: int) -> None:
    expect(operator.page.locator(".legend [data-state=failed] b")).to_have_text(str(count))


def test_a_service_that_is_restarted(service: ServiceProcess, open_page: OpenPage) -> None:
    """The page says that it is not live, greys its commands, and goes on by itself once the service is back."""
    operator = operator_page(open_page, _origin(service), service.token)
    operator.watched.expected += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE"]
    operator.watched.expected += ["ERR_CONNECTION_RESET", "503 (Service Unavailable)"]
    _expect_failed(operator, 1)
    service.kill()
    banner = operator.page.locator("#banners")
    expect(banner).to_contain_text("Connection lost")
    expect(operator.page.locator(".conn")).to_contain_text("Not live")
    expect(operator.button("Abort…")).to_have_attribute("data-why", "the page is not live")
    _expect_failed(operator, 1)
    service.start()
    operator.await_live()
    expect(banner).to_contain_text("Connected again.")
    expect(operator.button("Abort…")).not_to_have_attribute("aria-disabled", "true")
    # What happens from now on is seen as before.
    for action, state in (("pause", "Applying, held"), ("resume", "Applying")):
        reason = {"reason": "test"} if action == "pause" else {}
        status, answer = service.ask("POST", "/v1.0/sw-update-strategy/actions", {"action": action, **reason})
        assert status == 200, answer
        operator.await_state(state)


def test_a_session_that_ends(service: ServiceProcess, open_page: OpenPage) -> None:
    """Once its token is revoked the page says so, greys its commands, and leads back after another login."""
    token = service.token_of("eve", Role.ADMIN)
    operator = operator_page(open_page, _origin(service), token)
    operator.watched.expected.append("401 (Unauthorized)")
    _expect_failed(operator, 1)
    database = Database(service.database_url)
    TokenStore(database).revoke("eve")
    database.close()
    banner = operator.page.locator("#banners")
    expect(banner).to_contain_text("Your session has ended.")
    expect(operator.button("Abort…")).to_have_attribute("data-why", "your session has ended")
    banner.get_by_role("button", name="Log in again").click()
    operator.page.get_by_label("Token").fill(service.token)
    operator.page.get_by_role("button", name="Log in").click()
    operator.await_live()
    _expect_failed(operator, 1)
    expect(operator.button("Abort…")).not_to_have_attribute("aria-disabled", "true")


def test_a_link_that_works_once(service: ServiceProcess, open_page: OpenPage) -> None:
    """A login link logs in, leaves no code in address and history, and says the second time that it was used."""
    status, answer = service.ask("POST", "/ui/login-code")
    assert status == 200, answer
    operator = OperatorPage(open_page(_origin(service)))
    operator.page.goto(_origin(service) + answer["path"])
    operator.await_live()
    code = answer["path"].partition("#")[2]
    assert code not in operator.page.url
    operator.page.go_back()
    assert code not in operator.page.url
    other = OperatorPage(open_page(_origin(service)))
    other.watched.expected.append("401 (Unauthorized)")
    other.page.goto(_origin(service) + answer["path"])
    expect(other.page.get_by_role("alert")).to_contain_text("This login link was used already")
    assert code not in other.page.url


def test_readers_change_nothing(service: ServiceProcess, open_page: OpenPage) -> None:
    """To a reader every command is greyed with the reason, and the server refuses what the page would have sent."""
    operator = operator_page(open_page, _origin(service), service.token_of("rita", Role.READER))
    operator.watched.expected.append("403 (Forbidden)")
    _expect_failed(operator, 1)
    for pane in ("overview", "problems", "sites/edge-slow", "plan", "history", "health"):
        operator.open(pane)
        operator.await_live()
        expect(operator.page.locator("#drawer .sheet, #main h1, #main .head").first).to_be_visible()
        for button in operator.page.locator("#main, #drawer").get_by_role("button", name="…").all():
            assert button.get_attribute("aria-disabled") == "true", button.inner_text()
            assert "reader" in (button.get_attribute("data-why") or ""), button.inner_text()
    operator.open("history/audit")
    expect(operator.page.locator("#main")).to_contain_text("For administrators")
    send = """async ([path, body]) => {
        const headers = {"X-Prestager-UI": "1", "Content-Type": "application/json"};
        const sent = {method: "POST", headers, body: JSON.stringify(body)};
        return (await fetch(`/v1.0/sw-update-strategy/${path}`, sent)).status;
    }"""
    asked = [["actions?type=prestage", {"action": "abort"}], ["steps/edge-slow/cancel", {}]]
    statuses = [operator.page.evaluate(send, request) for request in asked]
    assert statuses == [403, 403]


def test_logging_out(service: ServiceProcess, open_page: OpenPage) -> None:
    """After the logout the page shows nothing, and asks for a login first."""
    operator = operator_page(open_page, _origin(service), service.token)
    operator.watched.expected.append("401 (Unauthorized)")
    _expect_failed(operator, 1)
    operator.page.get_by_role("button", name="log out").click()
    expect(operator.page.get_by_label("Token")).to_be_visible()
    operator.open("history")
    expect(operator.page.get_by_label("Token")).to_be_visible()
    expect(operator.page.locator("body")).not_to_contain_text("edge-login")
