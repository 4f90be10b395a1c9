"""Asks the system controller itself whether it is being upgraded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, Final, Literal

from runner.inspectors import InspectionError
from runner.sysinv.judgement import has_deploy, has_upgrade
from runner.sysinv.session import Access, Address, SiteSession

# The path that tells, and what its answer means.
_WAYS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "sysinv": ("/v1/upgrade", has_upgrade),
    "usm": ("/v1/deploy", has_deploy),
}
# Whoever waits for a command gives up after half a minute, and others wait behind him.
_LONGEST_S: Final = 5.0
# How long what was told is taken for true: a thousand commands in a row must not ask a controller that is away one
# after the other.
_FRESH_S: Final = 5.0


class AskedController:
    """Asks `way` of the controller: its sysinv, or USM since that does the upgrades.

    The answer, and just so a failure, holds for 5 s; a question takes at most `longest_s` seconds.
    """

    def __init__(
        self,
        access: Access,
        address: Address,
        way: Literal["sysinv", "usm"],
        *,
        longest_s: float = _LONGEST_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._access = access
        self._address = address
        self._path, self._judge = _WAYS[way]
        self._longest_s = longest_s
        self._clock = clock
        # One question at a time: whoever comes meanwhile gets the same answer.
        self._asking = Lock()
        self._told: tuple[float, bool | InspectionError] | None = None

    def is_upgrading(self) -> bool:
        """Return whether the controller lists an upgrade, in whatever state.

        Raises:
            InspectionError: It gave no usable answer in time.
        """
        with self._asking:
            if self._told is None or self._clock() - self._told[0] >= _FRESH_S:
                told = self._ask()
                self._told = (self._clock(), told)
            told = self._told[1]
        if isinstance(told, InspectionError):
            # A new one each time: threads that raise the same would share its traceback.
            raise InspectionError(str(told))
        return told

    def _ask(self) -> bool | InspectionError:
        told: SimpleQueue[bool | InspectionError] = SimpleQueue()
        # A thread of its own: looking a name up cannot be cancelled and may take longer than anybody waits.
        Thread(target=lambda: told.put(asyncio.run(self._look())), name="controller-check", daemon=True).start()
        try:
            return told.get(timeout=self._longest_s)
        except Empty:
            return self._late()

    async def _look(self) -> bool | InspectionError:
        try:
            async with asyncio.timeout(self._longest_s), SiteSession(self._access, self._address) as controller:
                return self._judge(await controller.get(self._path))
        except InspectionError as error:
            return error
        except TimeoutError:
            return self._late()

    def _late(self) -> InspectionError:
        return InspectionError(f"GET {self._path} was not answered within {self._longest_s:g} s.")
