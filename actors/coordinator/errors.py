"""Refusals of commands: a status, a sentence, and nothing changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from statemachine.errors import PrestagerError


class CommandRefusedError(PrestagerError):
    """The command cannot be carried out.

    Attributes:
        status: The HTTP status of the answer.

        detail: The sentence of the answer, with the contract's exact text where it has one.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def bad_request(detail: str) -> CommandRefusedError:
    """Return the error of a request that is wrong in itself."""
    return CommandRefusedError(HTTPStatus.BAD_REQUEST, detail)


def unprocessable(detail: str) -> CommandRefusedError:
    """Return the error of a request that does not fit the present state."""
    return CommandRefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def not_found(detail: str) -> CommandRefusedError:
    """Return the error of a request about something that is not there."""
    return CommandRefusedError(HTTPStatus.NOT_FOUND, detail)


def conflict(detail: str) -> CommandRefusedError:
    """Return the error of a request whose name or id is taken."""
    return CommandRefusedError(HTTPStatus.CONFLICT, detail)


class Refusals:
    """Reasons against a request: the first one is raised, but in a preview, which shows them all.

    Attributes:
        texts: The sentences of those that were kept, in the order in which they were met.
    """

    def __init__(self, *, are_kept: bool = False) -> None:
        self._are_kept = are_kept
        self.texts: list[str] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep a refusal that the block raises, and go on behind it; or let it pass.

        Raises:
            CommandRefusedError: The block raised it, and refusals are not kept.
        """
        try:
            yield
        except CommandRefusedError as error:
            if not self._are_kept:
                raise
            self.texts.append(error.detail)
