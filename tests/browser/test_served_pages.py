"""What the service serves to browsers, in a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser.pretending_service import start_pretending
from tests.browser.watched_page import CONTRAST, WatchedPage
from tests.support.service_process import ServiceProcess

# Leaves of hundreds of articles those with an element of another kind than all before: axe takes a minute for all.
_ONE_OF_EACH_KIND = """() => {
    const seen = new Set();
    const kindOf = one => `${one.parentElement.tagName}.${one.parentElement.className} ${one.tagName}.${one.className}`;
    for (const article of document.querySelectorAll("article")) {
        const kinds = [...article.querySelectorAll("*")].map(kindOf), count = seen.size;
        kinds.forEach(kind => seen.add(kind));
        if (seen.size === count) article.remove();
    }
    return document.querySelectorAll("article").length;
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service with one site."""
    service = start_pretending(tmp_path_factory.mktemp("service"), ["edge-1"])
    yield service
    service.end()


def test_the_page_of_the_document(service: ServiceProcess, open_page: Callable[..., WatchedPage]) -> None:
    """The page at /docs shows every route, loads nothing from elsewhere and can be read by all, in both themes."""
    origin = f"http://127.0.0.1:{service.port}"
    watched = open_page(origin, color_scheme="light")
    watched.page.goto(f"{origin}/docs")
    assert "/v1.0/sw-update-strategy" in watched.page.inner_text("body")
    assert 0 < watched.page.evaluate(_ONE_OF_EACH_KIND)
    assert watched.grave_findings() == []
    watched.page.emulate_media(color_scheme="dark")
    assert watched.grave_findings(CONTRAST) == []
