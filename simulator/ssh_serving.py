"""Serves SSH sites, in the caller's event loop or in a thread of its own, and ends what outlived their connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import psutil

from simulator.ssh_site import SshSite

_SITE: Final = "FLEET_SITE"
_END_S: Final = 5.0


@asynccontextmanager
async def serve_ssh(sites: Sequence[SshSite], directory: Path) -> AsyncIterator[None]:
    """Serve sites whose files are below `directory`; at the end none of them listens and no command of theirs runs.

    Raises:
        OSError: An address cannot be listened on; nothing is left listening.
    """
    try:
        for site in sites:
            await site.listen()
        yield
    finally:
        for site in sites:
            site.close()
        # Commands end with their connections; what has left its session is found by its environment.
        end_commands(directory)


@contextmanager
def serving_ssh(sites: Sequence[SshSite], directory: Path) -> Iterator[None]:
    """Do the same from a thread, until the block ends.

    Raises:
        OSError: An address cannot be listened on; nothing is left listening.
    """
    thread = _Thread(sites, directory)
    thread.start()
    thread.up.wait()
    try:
        if thread.error is not None:
            raise thread.error
        yield
    finally:
        thread.stop()


class _Thread(threading.Thread):
    """Runs the event loop of the sites."""

    def __init__(self, sites: Sequence[SshSite], directory: Path) -> None:
        super().__init__(name="sites", daemon=True)
        self.up = threading.Event()
        self.error: OSError | None = None
        self._sites = sites
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._told = asyncio.Event()

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except OSError as error:
            self.error = error
        finally:
            self.up.set()

    def stop(self) -> None:
        """Stop serving and wait for the end."""
        if self.error is None:
            self._loop.call_soon_threadsafe(self._told.set)
        self.join()

    async def _serve(self) -> None:
        async with serve_ssh(self._sites, self._directory):
            self.up.set()
            await self._told.wait()


def end_commands(directory: Path) -> int:
    """Kill every process that was started on a site below `directory`, and return how many there were.

    Found by the environment that every command of a site has; a process that cleared it is not found.
    """
    found = [process for process in psutil.process_iter() if _is_on_site(process, directory)]
    for process in found:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, timeout=_END_S)
    return len(found)


def _is_on_site(process: psutil.Process, directory: Path) -> bool:
    try:
        site = process.environ().get(_SITE)
    except (psutil.Error, OSError):
        return False
    return site is not None and Path(site).is_relative_to(directory)
