"""Simulated sites in a thread of their own, for tests that are threads themselves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from simulator.site_spec import SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from tests.support.waiting import PATIENCE_S

T = TypeVar("T")


class SitesThread:
    """Served sites by name; what is done to their sockets is done in their loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sites: Mapping[str, ServedSite]) -> None:
        self._loop = loop
        self._sites = sites

    def __getitem__(self, name: str) -> ServedSite:
        """Return a site."""
        return self._sites[name]

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop of the sites and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def write_urls(self, file: Path) -> Path:
        """Write the file that PRESTAGER_SITE_URLS_FILE names."""
        text = "".join(
            f'["{name}"]\nkeystone = "{site.keystone_url}"\nsysinv = "{site.sysinv_url}"\nusm = "{site.sysinv_url}"\n'
            for name, site in self._sites.items()
        )
        file.write_text(text)
        return file


@contextmanager
def sites_in_thread(specs: Iterable[SiteSpec], ssl_context: ssl.SSLContext | None = None) -> Iterator[SitesThread]:
    """Serve sites until the end of the context."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="simulated-sites", daemon=True)
    thread.start()
    served = serve_sites(specs, ssl_context=ssl_context)
    try:
        sites = SitesThread(loop, asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result(PATIENCE_S))
        try:
            yield sites
        finally:
            sites.run(served.__aexit__(None, None, None))
            sites.run(_end_all())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
