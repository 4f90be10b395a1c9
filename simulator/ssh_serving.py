"""Serves SSH sites: in the caller's event loop, or in a thread of its own for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from simulator.cleanup import end_commands
from simulator.ssh_site import SshSite


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
