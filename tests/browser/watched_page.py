"""A page in a real browser that is watched: what it says to the console, what it loads, and how accessible it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, Route

# Debian's, without windows, which costs a third of the CPU of the one with them; nothing is downloaded.
_CHROMIUM: Final = "/usr/bin/chromium-headless-shell"
# Longest wait for what comes early on a quiet machine, in milliseconds.
PATIENCE_MS: Final = 120_000
# Findings of axe that fail a test.
_GRAVE: Final = ("serious", "critical")
# The package that brings axe-core; only the script is used.
_AXE: Final = "axe_playwright_python"
# The contrast that AA asks for: all that is another one in another theme.
CONTRAST: Final = ("wcag143",)


@contextmanager
def start_browser(playwright: Playwright) -> Iterator[Browser]:
    """Run Chromium without a window until the block ends."""
    # Its own sandbox refuses root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = playwright.chromium.launch(
        executable_path=_CHROMIUM, args=[*sandbox, "--disable-gpu", "--disable-dev-shm-usage"]
    )
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class WatchedPage:
    """A page with all that it said and asked for.

    Nothing is loaded from another origin than the first one: such a request is cut and remembered in `foreign`.
    """

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    # Parts of complaints that a test brings about itself.
    expected: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, browser: Browser, origin: str, **options: Any) -> WatchedPage:
        """Open an empty page of its own session; `options` are those of a browser context."""
        given = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", "locale": "en-GB", **options}
        context = browser.new_context(**given)
        context.set_default_timeout(PATIENCE_MS)
        context.grant_permissions(["clipboard-write"], origin=origin)
        watched = cls(context.new_page(), origin)
        watched.page.on("console", watched._note_message)
        watched.page.on("pageerror", lambda error: watched.complaints.append(f"error: {error}"))
        watched.page.on("requestfailed", watched._note_failure)
        context.route("**/*", watched._cut_foreign)
        return watched

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _note_failure(self, request: Request) -> None:
        reason = request.failure or ""
        # The page itself gives up what it no longer needs, such as the stream on a reload.
        if "ERR_ABORTED" not in reason:
            self.complaints.append(f"failed: {request.url} {reason}")

    def _cut_foreign(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("data", "blob", "about") or f"{url.scheme}://{url.netloc}" == self.origin:
            route.continue_()
            return
        self.foreign.append(route.request.url)
        route.abort()

    def close(self) -> None:
        """Close the page with its session."""
        self.page.context.close()

    def judge(self) -> None:
        """Require that nothing was said to the console and nothing asked for elsewhere.

        Raises:
            AssertionError: There was something that no entry of `expected` is part of.
        """
        unexpected = [text for text in self.complaints if not any(part in text for part in self.expected)]
        assert not unexpected, "the page complained:\n" + "\n".join(unexpected)
        assert not self.foreign, f"the page asked elsewhere: {self.foreign}"

    def grave_findings(
        self, tags: Sequence[str] = ("wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"), *, place: str = "html"
    ) -> list[str]:
        """Return axe's serious and critical findings about a place of the page as it is, one text each."""
        if not self.page.evaluate("'axe' in window"):
            # Through the driver, for the page's policy lets no foreign script in.
            self.page.evaluate((files(_AXE) / "axe.min.js").read_text())
        found = self.page.evaluate("([place, tags]) => axe.run(place, {runOnly: tags})", [place, list(tags)])
        return [
            f"{finding['id']} ({finding['impact']}): {finding['help']}: {node['html'][:300]}"
            for finding in found["violations"]
            if finding["impact"] in _GRAVE
            for node in finding["nodes"]
        ]
