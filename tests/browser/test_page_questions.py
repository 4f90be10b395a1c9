"""The ten questions at night (docs/operations.md), answered by the page with the clicks that are named there."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.operator_page import OpenPage, OperatorPage, hand_of, operator_page
from tests.browser.pretending_service import SLOTS, start_pretending
from tests.support.service_process import ServiceProcess
from tests.support.waiting import wait_for

STRATEGY: Final = "/v1.0/sw-update-strategy"
# One fails, more than there are slots take until somebody stops them, and two are not begun.
SITES: Final = ("edge-00-space", *(f"edge-{number:02}-slow" for number in range(1, SLOTS + 4)))
WIDTH: Final = SLOTS + 1
MOST_CLICKS: Final = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service without a strategy."""
    service = start_pretending(tmp_path_factory.mktemp("service"), SITES)
    yield service
    service.end()


@pytest.fixture
def strategy(service: ServiceProcess) -> Iterator[int]:
    """Number of a strategy with a failed site, one that waits for a slot, and some not begun; it is gone afterwards."""
    rollout = {"mode": "window"}
    body = {"type": "prestage", "sysadmin_password": "cHc=", "max-parallel-subclouds": 1, "rollout": rollout}
    number = int(_send(service, "POST", STRATEGY, body)["id"])
    _send(service, "POST", f"{STRATEGY}/actions", {"action": "apply"})
    # The slow sites would leave no slot for the one that fails.
    wait_for(lambda: _progress(service)["failed"] == 1)
    _send(service, "PATCH", f"{STRATEGY}?type=prestage", {"max-parallel-subclouds": WIDTH})
    wait_for(lambda: (_progress(service)["running"], _progress(service)["queued"]) == (SLOTS, 1))
    yield number
    if service.get(STRATEGY)[1]["state"] == "applying":
        _send(service, "POST", f"{STRATEGY}/actions", {"action": "cancel", "grace-s": 0})
    wait_for(lambda: "delete" in service.get(STRATEGY)[1]["commands"])
    _send(service, "DELETE", f"{STRATEGY}?type=prestage")


def _send(service: ServiceProcess, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    status, answer = service.ask(method, path, body)
    assert status == HTTPStatus.OK, answer
    return answer


def _progress(service: ServiceProcess) -> dict[str, int]:
    progress: dict[str, int] = service.get(STRATEGY)[1]["progress"]
    return progress


def _step(service: ServiceProcess, site: str) -> Any:
    return service.get(f"{STRATEGY}/steps/{site}")[1]


class CountingHand:
    """Begins each answer at the overview, and allows no more clicks for it than the document promises."""

    def __init__(self, operator: OperatorPage, kind: str = "mouse") -> None:
        self._operator = operator
        self._hand = hand_of(kind, operator.page)
        self._clicks = 0

    def begin(self) -> None:
        """Go to the overview, without a filter."""
        self._operator.open("overview")
        expect(self._operator.page.locator(".head")).to_be_visible()
        self._clicks = 0

    def click(self, what: Locator) -> None:
        """Click, as one of few."""
        self._clicks += 1
        assert self._clicks <= MOST_CLICKS, f"one click too many: {what}"
        self._hand.press(what)

    def write(self, what: Locator, text: str) -> None:
        """Type a text, which is no click."""
        self._hand.write(what, text)


def test_what_can_be_seen(service: ServiceProcess, strategy: int, open_page: OpenPage) -> None:
    """Who waits for a slot, the most frequent cause, one site, the likely end, the caller and the past are near."""
    operator = operator_page(open_page, f"http://127.0.0.1:{service.port}", service.token)
    page, hand = operator.page, CountingHand(operator)
    hand.begin()
    hand.click(page.locator(".legend").get_by_role("button", name="1 wait for slot"))
    hand.click(page.get_by_role("button", name="Table"))
    waiting = [site for site in SITES if _step(service, site).get("run-state") == "queued"]
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text(waiting[0])
    hand.begin()
    expect(page.locator("aside .prob").first).to_contain_text("space")
    hand.begin()
    hand.click(page.locator(".work").get_by_role("link", name="edge-01-slow"))
    expect(page.locator("#drawer .say")).to_contain_text("packages for")
    expect(page.get_by_role("log")).to_contain_text("TASK [Take packages]")
    page.keyboard.press("Escape")
    hand.begin()
    expect(page.locator(".fig", has_text="Likely done")).to_be_visible()
    expect(page.locator(".head .facts")).to_contain_text("by test")
    hand.click(page.get_by_role("link", name="History"))
    hand.click(page.locator("tbody").get_by_role("link", name=str(strategy), exact=True))
    expect(page.locator("#main")).to_contain_text("Not enough space for the images")


@pytest.mark.parametrize("kind", ["mouse", "keyboard"])
def test_what_can_be_done(service: ServiceProcess, strategy: int, open_page: OpenPage, kind: str) -> None:
    """One site goes first, the rest is held, a cause is tried again, and all is stopped: by mouse or keyboard alone."""
    operator = operator_page(open_page, f"http://127.0.0.1:{service.port}", service.token)
    page, dialog, hand = operator.page, operator.dialog, CountingHand(operator, kind)
    hand.begin()
    hand.click(page.get_by_role("button", name="Table"))
    hand.click(page.locator("tbody").get_by_role("link", name=SITES[-1]))
    hand.click(page.locator("#drawer").get_by_role("button", name="First"))
    expect(page.locator("#toasts")).to_contain_text(f"{SITES[-1]} is put first.")
    assert "and 0 sites before it" in service.get(f"{STRATEGY}/steps/{SITES[-1]}/explain")[1]["explanation"]
    page.keyboard.press("Escape")

    hand.begin()
    hand.click(operator.button("Pause…"))
    hand.write(dialog.get_by_label("Why"), "the uplink flaps")
    hand.click(dialog.get_by_role("button", name="Pause"))
    operator.await_state("Applying, held")
    hand.begin()
    hand.click(page.locator(".head").get_by_role("button", name="Resume…"))
    hand.click(dialog.get_by_role("button", name="Resume"))
    operator.await_state("Applying")

    hand.begin()
    hand.click(page.get_by_role("link", name="Problems 1 failed"))
    hand.click(page.get_by_role("button", name="Retry it…"))
    hand.click(dialog.get_by_role("button", name="Retry"))
    expect(page.locator("#toasts")).to_contain_text("1 site is tried again.")
    assert _step(service, SITES[0])["series"] == 2

    hand.begin()
    hand.click(operator.button("Cancel…"))
    hand.write(dialog.get_by_label("to confirm"), str(strategy))
    hand.click(dialog.locator("button[type=submit]"))
    expect(page.locator("dialog")).to_have_count(0)
    wait_for(lambda: "delete" in service.get(STRATEGY)[1]["commands"])


def test_the_document_names_what_is_there() -> None:
    """Each question of the document has its clicks beside the command, and none has more than may be."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    section = text.partition("## Ten questions at night")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 10
    for _, _, clicks in rows:
        # A semicolon begins what is another action.
        assert clicks.strip()
        assert clicks.partition(";")[0].count("*") // 2 <= MOST_CLICKS
