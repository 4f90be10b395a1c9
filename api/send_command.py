"""Send a change to the coordinator as a command, and answer with its result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, Literal, Protocol, cast
from urllib.parse import quote
from uuid import uuid4

from aiohttp import web

from api.auth import ADMIN
from api.context import CALLER, COMMAND, SERVICES
from api.errors import RETRY_AFTER, ApiError
from api.responses import encode, json_response
from db.encryption import Sealer
from messages.command_specs import COMMAND_SPECS, SealedContent
from messages.commands import Answer, Command, CommandType
from messages.errors import NoAnswerInTimeError, RequestError, TransportUnavailableError
from messages.limits import TEXT_LENGTH
from messages.requests.base import parse_request
from messages.requests.strategy import PasswordRequest
from messages.secret_names import without_secrets
from tracing.tracer import active_traceparent

UnsealedReason = Literal["missing", "undecodable"]


def seal_password(value: Any, sealer: Sealer, *, bound_to: str) -> tuple[str | None, UnsealedReason | None]:
    """Return the sealed password, or why there is none.

    Args:
        value: What the body holds for `sysadmin_password`: base64 of UTF-8.

        sealer: Seals it.

        bound_to: Id of the command that carries it.
    """
    try:
        plain = parse_request(PasswordRequest, {"sysadmin_password": value}).sysadmin_password
    except RequestError as fault:
        return None, cast("UnsealedReason", str(fault))
    return sealer.seal(plain, bound_to=bound_to), None


_PASSWORD: Final = "sysadmin_password"  # noqa: S105 - a key
_KEY_FORM: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,198}[\x21-\x7e])?")


class Secret(Protocol):
    """A secret other than a password, which is sent sealed."""

    def seal(self, sealer: Sealer, *, bound_to: str) -> tuple[str | None, UnsealedReason | None]:
        """Return the sealed secret, or why there is none."""

    def reveal(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body of a successful answer as the caller shall see it."""


async def send_command(  # noqa: PLR0913 - all by name
    request: web.Request,
    command_type: CommandType,
    *,
    subject: str | None = None,
    data: Mapping[str, Any] | None = None,
    secret: Secret | None = None,
    note: str | None = None,
) -> web.Response:
    """Send a command and return the coordinator's answer.

    Args:
        request: Has the caller and the Idempotency-Key.

        command_type: Type of the command.

        subject: Name or id of the subcloud, group or webhook.

        data: The body as the caller wrote it; secrets are taken out here. Types that need its `sysadmin_password` have
            it sealed.

        secret: Sent sealed in the place of a password.

        note: The `info_message` of a successful answer; None: only that of the coordinator.

    Raises:
        ApiError: With the status and detail of the coordinator's answer; 503 when the command was not handed over; 504
            when no answer came in time.
    """
    services = request.app[SERVICES]
    command_id = _command_id(request)
    sealed, fault = _sealed(request, command_id, data) if _needs_password(command_type) else (None, None)
    if secret is not None:
        sealed, fault = secret.seal(services.sealer, bound_to=command_id)
    command = Command(
        id=command_id,
        type=command_type,
        subject=subject,
        data=without_secrets(dict(data or {})),
        sealed_password=sealed,
        password_fault=fault,
        requested_by=request[CALLER].name,
        origin=request.remote or "",
        by_administrator=request[CALLER].may(ADMIN) or None,
        traceparent=active_traceparent(),
    )
    request[COMMAND] = command_id
    try:
        answer = await services.transport.request(command)
    except TransportUnavailableError:
        detail = "The command was not handed over, nothing was changed; try again."
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_AFTER) from None
    except NoAnswerInTimeError:
        detail = f"Command {command_id} was handed over, but not answered in time; it may still be carried out."
        raise ApiError(HTTPStatus.GATEWAY_TIMEOUT, detail) from None
    if secret is not None and answer.status == HTTPStatus.OK:
        answer = answer.model_copy(update={"body": secret.reveal(answer.body)})
    if note is not None and answer.status == HTTPStatus.OK:
        answer = answer.model_copy(update={"body": {**answer.body, "info_message": note}})
    return _response(answer)


def _needs_password(command_type: CommandType) -> bool:
    return COMMAND_SPECS[command_type].sealed is SealedContent.PASSWORD


def _sealed(
    request: web.Request, command_id: str, data: Mapping[str, Any] | None
) -> tuple[str | None, UnsealedReason | None]:
    return seal_password((data or {}).get(_PASSWORD), request.app[SERVICES].sealer, bound_to=command_id)


def _response(answer: Answer) -> web.Response:
    if answer.status != HTTPStatus.OK:
        headers = RETRY_AFTER if answer.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        raise ApiError(answer.status, answer.detail, headers)
    return json_response(encode(answer.body))


def _command_id(request: web.Request) -> str:
    """Return the command's id, by which a repeat is recognised; ids of different callers never collide."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return str(uuid4())
    if not _KEY_FORM.fullmatch(key):
        raise ApiError(HTTPStatus.BAD_REQUEST, "Idempotency-Key must have 1 to 200 printable ASCII characters")
    # The name is quoted, so the first slash ends it.
    command_id = f"{quote(request[CALLER].name, safe='')}/{key}"
    return command_id if len(command_id) <= TEXT_LENGTH else sha256(command_id.encode()).hexdigest()
