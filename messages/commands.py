"""Commands, their answers, and the transport that carries them.

The API and (over RabbitMQ) foreign publishers make commands; the coordinator alone answers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Literal, Protocol
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from messages.limits import TEXT_LENGTH

# The publishing user is part of the id.
_NOT_ASKED: Final = ("id", "created_at", "sealed_password", "origin", "traceparent", "user_id", "by_administrator")


class CommandType(StrEnum):
    """Type of a command."""

    STRATEGY_CREATE = "strategy.create"
    STRATEGY_APPLY = "strategy.apply"
    STRATEGY_ABORT = "strategy.abort"
    STRATEGY_DELETE = "strategy.delete"
    STRATEGY_PAUSE = "strategy.pause"
    STRATEGY_RESUME = "strategy.resume"
    STRATEGY_CANCEL = "strategy.cancel"
    STRATEGY_APPROVE = "strategy.approve"
    STRATEGY_DENY = "strategy.deny"
    STRATEGY_PREVIEW = "strategy.preview"
    STRATEGY_UPDATE = "strategy.update"
    STRATEGY_RETRY = "strategy.retry"
    STEP_HOLD = "step.hold"
    STEP_FIRST = "step.first"
    STEP_CANCEL = "step.cancel"
    STEP_RETRY = "step.retry"
    SUBCLOUD_ADD = "subcloud.add"
    SUBCLOUD_UPDATE = "subcloud.update"
    SUBCLOUD_DELETE = "subcloud.delete"
    SUBCLOUD_PRESTAGE = "subcloud.prestage"
    SUBCLOUD_STAGED = "subcloud.staged"
    SUBCLOUD_UNSTAGE = "subcloud.unstage"
    GROUP_CREATE = "group.create"
    GROUP_UPDATE = "group.update"
    GROUP_DELETE = "group.delete"
    WEBHOOK_CREATE = "webhook.create"
    WEBHOOK_UPDATE = "webhook.update"
    WEBHOOK_DELETE = "webhook.delete"
    WEBHOOK_PING = "webhook.ping"
    WEBHOOK_REDELIVER = "webhook.redeliver"


# Values of `action` in a request to change the strategy, and the commands that they become.
STRATEGY_ACTIONS: Final[Mapping[str, CommandType]] = {
    "apply": CommandType.STRATEGY_APPLY,
    "abort": CommandType.STRATEGY_ABORT,
    "pause": CommandType.STRATEGY_PAUSE,
    "resume": CommandType.STRATEGY_RESUME,
    "cancel": CommandType.STRATEGY_CANCEL,
    "approve": CommandType.STRATEGY_APPROVE,
    "deny": CommandType.STRATEGY_DENY,
}


class ShellAction(StrEnum):
    """Action of an operator on the controller's machine; there is no command for it."""

    SET_HOST_KEY = "subcloud.set-host-key"
    FORGET_HOST_KEY = "subcloud.forget-host-key"


class WorkerAction(StrEnum):
    """Action of a caller of the API on a worker; there is no command for it, for the worker itself is asked."""

    DRAIN = "worker.drain"
    UNDRAIN = "worker.undrain"


class Command(BaseModel):
    """One request to change something.

    The same id with the same content is answered from what was stored the first time; it never acts twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(default_factory=lambda: str(uuid4()), min_length=1, max_length=TEXT_LENGTH)
    type: CommandType
    # Name or id of the subcloud, group or webhook, where the type has one.
    subject: str | None = None
    # The request, as the caller wrote it; the coordinator validates it. Never holds a password.
    data: dict[str, Any] = Field(default_factory=dict)
    # The password, or the secret of a webhook, sealed and bound to this command's id.
    sealed_password: str | None = None
    # Why there is no sealed password, where the type needs one.
    password_fault: Literal["missing", "undecodable"] | None = None
    # Name of the caller, and the address that the API was called from (empty by AMQP), for the audit.
    requested_by: str = ""
    origin: str = Field("", max_length=TEXT_LENGTH)
    # User of RabbitMQ that a foreign publisher is, as RabbitMQ vouches for it; empty where it does not, and over HTTP.
    user_id: str = Field("", max_length=TEXT_LENGTH)
    # Whether our API vouches that the caller is an administrator; None by any other way.
    by_administrator: bool | None = None
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    # Trace context of the caller (W3C); None: it is not traced.
    traceparent: str | None = None

    def digest(self) -> str:
        """Return what a repeat must have in common to be the same command: what is asked, and by whom."""
        content = self.model_dump_json(exclude=set(_NOT_ASKED))
        return sha256(content.encode()).hexdigest()


class Answer(BaseModel):
    """Answer of the coordinator to a command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # HTTP status; 200 is the only success (contract 1).
    status: int
    # On success, the JSON body.
    body: Any = None
    # Otherwise, the sentence that says what is wrong.
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class ReplyAddress:
    """Address of an answer."""

    command_id: str
    # Queue that the caller named, empty if it asked for no answer; None in one process.
    queue: str | None = None
    # Id of the request that the answer belongs to; several requests may use one command id.
    mark: str | None = None
    # Trace context of the request.
    traceparent: str | None = None


class CommandTransport(Protocol):
    """Carries a command to the coordinator and brings the answer back."""

    async def request(self, command: Command) -> Answer:
        """Return the coordinator's answer.

        Raises:
            TransportUnavailableError: Nothing was handed over.
            NoAnswerInTimeError: Handed over, but not answered in time.
        """

    async def close(self) -> None:
        """Let go of what the transport holds. Repeating it does nothing."""
