"""What an operator does in a night, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.operator_page import Hand, OpenPage, OperatorPage, hand_of, operator_page
from tests.browser.pretending_service import start_pretending
from tests.support.service_process import ServiceProcess

SITES = ("edge-1", "edge-2", "edge-login-1", "edge-login-2", "edge-slow")


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service; two of its sites fail, and one takes until it is stopped."""
    service = start_pretending(tmp_path_factory.mktemp("service"), SITES)
    yield service
    service.end()


def _origin(service: ServiceProcess) -> str:
    return f"http://127.0.0.1:{service.port}"


def _create(operator: OperatorPage, hand: Hand) -> None:
    page = operator.page
    hand.press(page.get_by_role("link", name="Plan", exact=True))
    expect(page.locator("#preview .answer")).to_have_text("5 sites in 3 stages")
    hand.choose(page.get_by_label("Mode"), "Sliding window")
    hand.write(page.get_by_label("Canaries first"), "1")
    expect(page.locator("#preview .stg")).to_contain_text("canary")
    hand.write(page.get_by_label("sysadmin"), "secret")
    hand.write(page.get_by_label("Once more"), "other")
    create = page.get_by_role("button", name="Create strategy for 5 sites")
    expect(create).not_to_have_attribute("aria-disabled", "true")
    hand.press(create)
    expect(page.locator("#create-error")).to_contain_text("The passwords differ")
    hand.write(page.get_by_label("Once more"), "secret")
    hand.press(create)
    operator.await_state("Not applied yet")


def _apply(operator: OperatorPage, hand: Hand) -> None:
    hand.press(operator.button("Apply…"))
    hand.press(operator.dialog.get_by_role("button", name="Apply"))
    operator.await_state("Applying")
    # The other three end while somebody watches.
    expect(operator.page.locator(".legend [data-state=failed] b")).to_have_text("2")
    expect(operator.page.locator(".legend [data-state=complete] b")).to_have_text("2")


def _pause_and_resume(operator: OperatorPage, hand: Hand) -> None:
    hand.press(operator.button("Pause…"))
    hand.write(operator.dialog.get_by_label("Why"), "the uplink flaps")
    hand.press(operator.dialog.get_by_role("button", name="Pause"))
    operator.await_state("Applying, held")
    expect(operator.page.locator("#banners")).to_contain_text("the uplink flaps")
    expect(operator.page.locator("#banners")).to_contain_text("Held by test")
    hand.press(operator.page.locator("#main").get_by_role("button", name="Resume…"))
    hand.press(operator.dialog.get_by_role("button", name="Resume"))
    operator.await_state("Applying")


def _retry_these(operator: OperatorPage, hand: Hand) -> None:
    page = operator.page
    hand.press(page.get_by_role("link", name="Problems 2 failed"))
    expect(page.locator(".pbig summary")).to_contain_text("Permission denied (publickey,password)")
    hand.press(page.get_by_role("button", name="Retry these 2…"))
    expect(operator.dialog).to_contain_text("login in")
    hand.write(operator.dialog.get_by_label("Another password"), "right")
    hand.press(operator.dialog.get_by_role("button", name="Retry 2 sites"))
    expect(page.locator("#toasts")).to_contain_text("2 sites are tried again.")


def _stop_the_slow_one(operator: OperatorPage, hand: Hand) -> None:
    page = operator.page
    hand.press(page.get_by_role("link", name="Overview", exact=True))
    # They have failed once more.
    expect(page.locator(".legend [data-state=failed] b")).to_have_text("2")
    hand.press(page.locator(".work").get_by_role("link", name="edge-slow"))
    hand.press(operator.button("Cancel this site…"))
    hand.press(operator.dialog.get_by_role("button", name="Cancel this site"))
    hand.press(page.locator("#drawer").get_by_role("button", name="Close"))
    operator.await_state("Ended with failures")


@pytest.mark.parametrize("kind", [pytest.param("mouse", marks=pytest.mark.quick), "keyboard"])
def test_a_night(service: ServiceProcess, open_page: OpenPage, kind: str) -> None:
    """A strategy is planned, applied, paused, resumed, retried and found in the history by mouse or keyboard alone."""
    operator = operator_page(open_page, _origin(service), service.token)
    hand = hand_of(kind, operator.page)
    _create(operator, hand)
    _apply(operator, hand)
    _pause_and_resume(operator, hand)
    _retry_these(operator, hand)
    _stop_the_slow_one(operator, hand)
    hand.press(operator.page.get_by_role("link", name="History"))
    row = operator.page.locator("tbody tr")
    expect(row).to_contain_text("with failures")
    expect(row).to_contain_text("2 complete · 2 failed · 1 aborted")
    hand.press(row.get_by_role("link", name="1", exact=True))
    expect(operator.page.locator("#main")).to_contain_text("Permission denied (publickey,password)")
