"""Fixtures of the tests in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.watched_page import WatchedPage, start_browser

_FAILED: pytest.StashKey[bool] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Let fixtures know whether the test failed."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Give the browser that the tests of a module share; each opens sessions of its own.

    Not longer: while Playwright works, its event loop runs in this process, and no test can run one of its own.
    """
    with sync_playwright() as playwright, start_browser(playwright) as browser:
        yield browser


@pytest.fixture
def open_page(
    chromium: Browser, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., WatchedPage]]:
    """Give a function that opens a watched page at an origin.

    A page that complained, or asked elsewhere, fails the test; of a failed test, pictures of its pages are kept.
    """
    opened: list[WatchedPage] = []

    def open_one(origin: str, **options: Any) -> WatchedPage:
        opened.append(WatchedPage.open(chromium, origin, **options))
        return opened[-1]

    yield open_one
    failed = request.node.stash.get(_FAILED, True)
    for place, watched in enumerate(opened):
        if failed:
            picture = tmp_path / f"page-{place}.png"
            watched.page.screenshot(path=picture, timeout=10_000)
            said = "\n".join([watched.page.url, *watched.complaints, str(picture)])
            request.node.add_report_section("teardown", "browser", said)
        watched.close()
    if not failed:
        for watched in opened:
            watched.judge()
