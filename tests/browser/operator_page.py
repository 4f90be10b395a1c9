"""The dashboard as an operator uses it: login, panes, and a hand that has a mouse or a keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Protocol

from playwright.sync_api import Locator, Page, expect

from tests.browser.watched_page import PATIENCE_MS, WatchedPage

expect.set_options(timeout=PATIENCE_MS)

# Most elements that are passed on the way to one.
_MOST_TABS: Final = 400

OpenPage = Callable[..., WatchedPage]


class OperatorPage:
    """One session of the dashboard."""

    def __init__(self, watched: WatchedPage) -> None:
        self.watched = watched
        self.page: Page = watched.page
        # The browser itself complains of this answer, which says that there is no strategy.
        watched.expected.append(f"404 (Not Found) ({watched.origin}/v1.0/sw-update-strategy?type=prestage)")

    def open(self, pane: str = "overview") -> None:
        """Show a pane, `history/audit` among them, or `sites/NAME`."""
        self.page.goto(f"{self.watched.origin}/ui#/{pane}")

    def log_in(self, token: str) -> None:
        """Log in with a token, and wait until the page is live."""
        self.open()
        self.page.get_by_label("Token", exact=True).fill(token)
        self.page.get_by_role("button", name="Log in").click()
        self.await_live()

    def await_live(self) -> None:
        """Wait until the page follows the stream."""
        expect(self.page.locator(".conn")).to_contain_text("Live")
        expect(self.page.locator(".conn")).not_to_contain_text("Not")

    def button(self, name: str) -> Locator:
        """Return the button outside of dialogs whose name begins so."""
        return (
            self.page.locator("#top button, #banners button, #main button, #drawer button").filter(has_text=name).first
        )

    @property
    def dialog(self) -> Locator:
        """The dialog that is open."""
        return self.page.locator("dialog[open]")

    def await_state(self, word: str) -> None:
        """Wait until the head of the overview shows a state of the strategy."""
        # Before it stands the letter of the sign.
        expect(self.page.locator(".head .word")).to_have_text(re.compile(rf"^.?{re.escape(word)}$"))


def operator_page(open_page: OpenPage, origin: str, token: str, **options: object) -> OperatorPage:
    """Return the dashboard with somebody logged in."""
    opened = OperatorPage(open_page(origin, **options))
    opened.log_in(token)
    return opened


class Hand(Protocol):
    """Does what people do: press something, type something, choose something."""

    def press(self, what: Locator) -> None: ...

    def write(self, what: Locator, text: str) -> None: ...

    def choose(self, what: Locator, label: str) -> None: ...


class Mouse:
    """A hand with a mouse, and keys only to type a text."""

    def press(self, what: Locator) -> None:
        """Click."""
        what.click()

    def write(self, what: Locator, text: str) -> None:
        """Click and type."""
        what.click()
        what.fill(text)

    def choose(self, what: Locator, label: str) -> None:
        """Choose from a menu."""
        what.select_option(label=label)


class Keyboard:
    """A hand with a keyboard alone."""

    def __init__(self, page: Page) -> None:
        self._keys = page.keyboard

    def _reach(self, what: Locator) -> None:
        """Go from element to element until this one has the focus, which can be seen."""
        expect(what).to_be_visible()
        for _ in range(_MOST_TABS):
            if what.evaluate("element => element === document.activeElement"):
                outline = what.evaluate("element => getComputedStyle(element).outlineStyle")
                assert outline != "none", "nobody sees where the focus is"
                return
            self._keys.press("Tab")
        raise AssertionError(f"not to be reached by keyboard: {what}")

    def press(self, what: Locator) -> None:
        """Go there and press Enter."""
        self._reach(what)
        self._keys.press("Enter")

    def write(self, what: Locator, text: str) -> None:
        """Go there and type."""
        self._reach(what)
        self._keys.press("Control+A")
        self._keys.type(text)

    def choose(self, what: Locator, label: str) -> None:
        """Go there and type the beginning of the choice."""
        self._reach(what)
        self._keys.type(label)


def hand_of(kind: str, page: Page) -> Hand:
    """Return a hand with a `mouse` or a `keyboard`."""
    return Mouse() if kind == "mouse" else Keyboard(page)
