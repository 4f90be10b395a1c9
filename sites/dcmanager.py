"""Operations that dcmanager carries out on its subclouds, from its list of them; one answer for the whole process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock, Thread
from time import monotonic
from typing import Any, Final

from messages.process_info import INSTALLATION_HEADER
from sites.errors import ErrorKind, InspectionError, SiteRequestError
from sites.sysinv.access import Access, Address
from sites.sysinv.client import SiteSession
from statemachine.site_operations import IN_TRANSITION, SiteOperation, find_operation

# dcmanager's list has neither limit nor marker: all subclouds come in one answer.
SUBCLOUDS: Final = "/subclouds/"
# The list has the install and rehome values of each subcloud, a few KiB; dcmanager has 5,000 subclouds at most.
LONGEST_LIST: Final = 64 * 1024 * 1024
# Oldest list that is used, in seconds since it was asked for; an error is kept as long: a thousand commands in a
# row must not each wait for a dcmanager that is silent.
_FRESH_S: Final = 10.0
# Longest question, in seconds: the caller of a command waits half a minute for its answer.
_LONGEST_S: Final = 15.0
_ITSELF: Final = (
    "PRESTAGER_DCMANAGER_URL leads to this Prestager itself: set it to dcmanager's own address, such as"
    " http://192.168.204.2:8119/v1.0, or leave it empty."
)

# Of what the other side wrote, in a message of ours, in characters.
_SHOWN: Final = 64


@dataclass(frozen=True, kw_only=True)
class DcmanagerSubclouds:
    """Content of the list.

    Attributes:
        count: How many subclouds it has.

        operations: What goes on, by the name of the subcloud; those where nothing does are not in it.
    """

    count: int
    operations: Mapping[str, SiteOperation]


_Answer = DcmanagerSubclouds | InspectionError


class DcmanagerOperations:
    """The operations of one dcmanager, for one process.

    Calls within 10 s of a request share its answer, a failure too; calls while it is made wait for it. A request takes
    at most `longest_s` seconds; it may hang longer in a look-up of names, but no caller waits longer.
    `address.service_url` has the version of the API; by `installation` a Prestager knows its own request.
    """

    def __init__(
        self,
        access: Access,
        address: Address,
        *,
        installation: str = "",
        longest_s: float = _LONGEST_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._access = access
        self._address = address
        self._headers = {"User-Agent": "prestager"} | ({INSTALLATION_HEADER: installation} if installation else {})
        self._longest_s = longest_s
        self._clock = clock
        self._lock = Lock()
        self._question: Future[_Answer] | None = None
        self._asked_at = float("-inf")
        self._fresh_until = float("-inf")

    def ask(self) -> None:
        """Begin to ask where the answer is not fresh; returns at once. Errors are raised by `read`."""
        with suppress(InspectionError):
            self._current()

    def read(self) -> DcmanagerSubclouds:
        """Return the operations of dcmanager. Callable from any thread, never inside a transaction.

        Raises:
            InspectionError: It gave no usable answer in time.
        """
        try:
            return _raised(self._current().result(self._left_s()))
        except TimeoutError:
            raise self._late() from None

    async def read_async(self) -> DcmanagerSubclouds:
        """Return the operations of dcmanager, as `read`, without a thread that waits.

        Raises:
            InspectionError: It gave no usable answer in time.
        """
        try:
            question = self._current()
            if question.done():
                return _raised(question.result())
            async with asyncio.timeout(self._left_s()):
                return _raised(await asyncio.wrap_future(question))
        except TimeoutError:
            raise self._late() from None

    def _current(self) -> Future[_Answer]:
        with self._lock:
            # One that hangs in a look-up of names, which nothing can cancel, is not joined by another.
            if self._question is not None and (not self._question.done() or self._clock() < self._fresh_until):
                return self._question
            question: Future[_Answer] = Future()
            # One who waits and is cancelled must not cancel it for the others.
            question.set_running_or_notify_cancel()
            asked_at = self._asked_at = self._clock()
            try:
                Thread(target=self._answer, args=(question, asked_at), name="dcmanager", daemon=True).start()
            except RuntimeError:
                # The next who asks tries again.
                raise InspectionError("dcmanager cannot be asked: this machine starts no more threads.") from None
            self._question = question
            return question

    def _left_s(self) -> float:
        """Return how long the question is waited for from now on, in seconds."""
        return max(0.0, self._asked_at + self._longest_s - self._clock())

    def _answer(self, question: Future[_Answer], asked_at: float) -> None:
        try:
            answer = asyncio.run(self._look())
        except Exception as error:  # noqa: BLE001 - the top of a thread; those that wait get it as the answer
            answer = InspectionError(f"GET {SUBCLOUDS} broke: {type(error).__name__}.")
        is_told = isinstance(answer, DcmanagerSubclouds)
        self._fresh_until = (asked_at if is_told else self._clock()) + _FRESH_S
        question.set_result(answer)

    async def _look(self) -> _Answer:
        try:
            async with (
                asyncio.timeout(self._longest_s),
                SiteSession(self._access, self._address, longest_body=LONGEST_LIST, headers=self._headers) as session,
            ):
                return read_subclouds(await session.get(SUBCLOUDS))
        except SiteRequestError as error:
            return InspectionError(_ITSELF) if error.kind is ErrorKind.LOOP else error
        except TimeoutError:
            return self._late()

    def _late(self) -> InspectionError:
        return InspectionError(f"GET {SUBCLOUDS} was not answered within {self._longest_s:g} s.")


def _raised(answer: _Answer) -> DcmanagerSubclouds:
    if isinstance(answer, InspectionError):
        # A new one each time: threads that raise the same would share its traceback.
        raise InspectionError(str(answer))
    return answer


def listed_objects(body: Any, key: str) -> list[Mapping[str, Any]]:
    """Return the named objects that an answer such as `{"subclouds": [{"name": "edge-1"}]}` lists under `key`.

    Raises:
        SiteRequestError: It is not of that form, or lists a name twice.
    """
    found = body.get(key) if isinstance(body, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise _unusable(f"It gave no list {key}: it does not answer as dcmanager does.")
    names = [one.get("name") for one in found]
    if not all(isinstance(name, str) and name for name in names):
        raise _unusable(f"Its list {key} has one without a name.")
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise _unusable(f"Its list {key} has {str(twice)[:_SHOWN]!r} twice.")
    return found


def read_subclouds(body: Any) -> DcmanagerSubclouds:
    """Return the operations that `GET /v1.0/subclouds/` shows.

    Raises:
        SiteRequestError: It is no list of subclouds, one has no name or a name of another, or a status is no text.
    """
    subclouds = listed_objects(body, "subclouds")
    found = {str(one["name"]): find_operation(_statuses(one)) for one in subclouds}
    operations = {name: operation for name, operation in found.items() if operation is not None}
    return DcmanagerSubclouds(count=len(subclouds), operations=operations)


def _statuses(subcloud: Mapping[str, Any]) -> dict[str, str | None]:
    statuses = {key: subcloud.get(key) for key in IN_TRANSITION}
    for key, status in statuses.items():
        # Null, or absent in older releases: there was no such operation.
        if status is not None and not isinstance(status, str):
            raise _unusable(f"Its {key} of {str(subcloud['name'])[:_SHOWN]!r} is no text.")
    return statuses


def _unusable(text: str) -> SiteRequestError:
    return SiteRequestError(ErrorKind.UNUSABLE, text)
