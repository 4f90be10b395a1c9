"""What the service serves to browsers, in a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.pretending_service import start_pretending
from tests.browser.watched_page import WatchedPage
from tests.support.service_process import ServiceProcess


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service with one site."""
    service = start_pretending(tmp_path_factory.mktemp("service"), ["edge-1"])
    yield service
    service.end()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_of_the_document(service: ServiceProcess, open_page: Callable[..., WatchedPage], theme: str) -> None:
    """The page at /docs shows every route, loads nothing from elsewhere and can be read by everybody."""
    origin = f"http://127.0.0.1:{service.port}"
    watched = open_page(origin, color_scheme=theme)
    watched.page.goto(f"{origin}/docs")
    assert "/v1.0/sw-update-strategy" in watched.page.inner_text("body")
    # Of the other theme the colours alone are others: the contrast that AA asks for.
    tags = () if theme == "light" else (["wcag143"],)
    assert watched.grave_findings(*tags) == []
