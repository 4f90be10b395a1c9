"""Asks the system controller itself whether it is being upgraded, and which releases it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import Any, Final, Literal

from sites.errors import InspectionError, SiteRequestError
from sites.sysinv.access import Access, Address
from sites.sysinv.client import SiteSession
from sites.sysinv.interpretation import ListedSoftware, has_deploy, has_upgrade, read_releases, read_software

# Path that shows whether the controller is being upgraded, by interface, and the meaning of its answer.
_WAYS: Final[Mapping[str, tuple[str, Callable[[Any], bool]]]] = {
    "sysinv": ("/v1/upgrade", has_upgrade),
    "usm": ("/v1/deploy", has_deploy),
}
# Longest question, in seconds: the caller of a command waits half a minute, and other commands wait behind it.
_LONGEST_S: Final = 5.0
# How long an answer is used, in seconds: a thousand commands in a row must not each ask a controller that is away.
_FRESH_S: Final = 5.0


# The path that lists the releases; only USM has it.
_RELEASES: Final = "/v1/release"


@dataclass(frozen=True, kw_only=True)
class _Told:
    is_upgrading: bool
    # Oldest first; None: it was not asked, or gave no list of any.
    releases: tuple[str, ...] | None
    # As USM lists it; None: it was not asked, or gave no list.
    software: tuple[ListedSoftware, ...] | None = None


class SystemControllerCheck:
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
        self._has_releases = way == "usm"
        self._longest_s = longest_s
        self._clock = clock
        # One question at a time: threads that come meanwhile get the same answer.
        self._asking = Lock()
        self._told: tuple[float, _Told | InspectionError] | None = None

    def is_upgrading(self) -> bool:
        """Return whether the controller lists an upgrade, in whatever state.

        Raises:
            InspectionError: It gave no usable answer in time.
        """
        return self._answer().is_upgrading

    def releases(self) -> tuple[str, ...] | None:
        """Return the releases (MM.mm) that the controller has, oldest first; None where it does not list any.

        Raises:
            InspectionError: It gave no usable answer in time.
        """
        return self._answer().releases

    def software(self) -> tuple[ListedSoftware, ...] | None:
        """Return the software that the controller's USM lists; None where it does not list any.

        Raises:
            InspectionError: It gave no usable answer in time.
        """
        return self._answer().software

    def _answer(self) -> _Told:
        with self._asking:
            if self._told is None or self._clock() - self._told[0] >= _FRESH_S:
                told = self._ask()
                self._told = (self._clock(), told)
            told = self._told[1]
        if isinstance(told, InspectionError):
            # A new one each time: threads that raise the same would share its traceback.
            raise InspectionError(str(told))
        return told

    def _ask(self) -> _Told | InspectionError:
        told: SimpleQueue[_Told | InspectionError] = SimpleQueue()
        # A thread of its own: looking a name up cannot be cancelled and may take longer than a caller waits.
        Thread(target=lambda: told.put(asyncio.run(self._look())), name="controller-check", daemon=True).start()
        try:
            return told.get(timeout=self._longest_s)
        except Empty:
            return self._late()

    async def _look(self) -> _Told | InspectionError:
        try:
            async with asyncio.timeout(self._longest_s), SiteSession(self._access, self._address) as controller:
                is_upgrading = self._judge(await controller.get(self._path))
                listed = await self._list_releases(controller) if self._has_releases else None
                return _Told(is_upgrading=is_upgrading, releases=_installable(listed), software=_software(listed))
        except InspectionError as error:
            return error
        except TimeoutError:
            return self._late()

    async def _list_releases(self, controller: SiteSession) -> Any:
        """Return the list of releases; a controller that gives none is taken for one that is not asked."""
        try:
            async with asyncio.timeout(self._longest_s / 2):
                return await controller.get(_RELEASES)
        except (InspectionError, TimeoutError):
            return None

    def _late(self) -> InspectionError:
        return InspectionError(f"GET {self._path} was not answered within {self._longest_s:g} s.")


def _installable(listed: Any) -> tuple[str, ...] | None:
    try:
        return read_releases(listed) or None
    except SiteRequestError:
        return None


def _software(listed: Any) -> tuple[ListedSoftware, ...] | None:
    return read_software(listed) or None
