"""Refusals of commands: a status, a sentence, and nothing changed."""

from __future__ import annotations

from http import HTTPStatus


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not a fault
    """The command cannot be carried out.

    Attributes:
        status: The HTTP status of the answer.

        detail: The sentence of the answer, with the contract's exact text where it has one.
    """

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def bad_request(detail: str) -> Refused:
    """Return the refusal of a request that is wrong in itself."""
    return Refused(HTTPStatus.BAD_REQUEST, detail)


def unprocessable(detail: str) -> Refused:
    """Return the refusal of a request that does not fit the present state."""
    return Refused(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def not_found(detail: str) -> Refused:
    """Return the refusal of a request about something that is not there."""
    return Refused(HTTPStatus.NOT_FOUND, detail)


def conflict(detail: str) -> Refused:
    """Return the refusal of a request whose name or id is taken."""
    return Refused(HTTPStatus.CONFLICT, detail)
