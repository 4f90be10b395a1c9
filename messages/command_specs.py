"""The table of commands: one row for each type, which the coordinator and the documents read.

A new command is a `CommandType`, a row here and a handler; its model is in `messages/requests`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from messages.commands import CommandType
from messages.inventory_schemas import Group, PrestagedSubcloud, Subcloud, UnstagedSubcloud
from messages.requests.base import Request
from messages.requests.group import GroupChange, GroupRequest
from messages.requests.strategy import PrestageCommand, StrategyCommand, VerbRequest
from messages.requests.strategy_control import (
    CancelRequest,
    DecisionRequest,
    PauseRequest,
    ResumeRequest,
    StepCancelRequest,
    StepHoldRequest,
    StrategyUpdate,
)
from messages.requests.strategy_retry import StrategyRetry
from messages.requests.subcloud import NewSubcloud, StagedRequest, SubcloudChange, UnstageRequest
from messages.requests.webhook import RedeliveryRequest, WebhookChange, WebhookRequest
from messages.schemas import CreatedStrategy, ResumedStrategy, Strategy, StrategyPreview
from messages.step_schemas import CancelledStep, Step
from messages.webhook_schemas import Delivery, TaggedWebhook, Webhook


class NoRequest(Request):
    """Nothing: type and subject tell all."""


class SubjectKind(StrEnum):
    """Kind of the resource that a command's subject names."""

    # By its id.
    STRATEGY = "strategy"
    # By the name of its subcloud.
    STEP = "step"
    SUBCLOUD = "subcloud"
    GROUP = "group"
    WEBHOOK = "webhook"


class SealedContent(StrEnum):
    """Content of a command's `sealed_password`, as documents describe it."""

    PASSWORD = "The password of the sites' account, sealed by `prestager seal`."  # noqa: S105 - a sentence
    SECRET = "The signing secret, sealed by `prestager seal`."  # noqa: S105 - a sentence


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A type of command.

    Attributes:
        handler: Name of the function in `actors/coordinator` that carries it out.

        request: Model of `data`.

        subject: Kind of the resource that its subject names; None: it has no subject.

        sealed: Content of `sealed_password`; None: it has none.

        is_sealed_needed: Whether it is rejected without that.

        answer: Type of the answer's body on success; None: null.

        is_http_only: Whether a message of another publisher may not ask for it.

        is_question: Whether it is answered from a reading transaction: nothing is kept of it, and a repeat is answered
            anew.

        starts_work: Whether a controller that is being upgraded must not have it (contract 3.3.2, 4.3).

        needs_planning: Whether there may be something to plan after it.

        on_failure: The answer's sentence after an unexpected error of this program.

        summary: One sentence for the documents.
    """

    handler: str
    request: type[Request] = NoRequest
    subject: SubjectKind | None = None
    sealed: SealedContent | None = None
    is_sealed_needed: bool = True
    answer: Any = None
    is_http_only: bool = False
    is_question: bool = False
    starts_work: bool = False
    needs_planning: bool = True
    on_failure: str
    summary: str

    @property
    def needs_request(self) -> bool:
        """Whether its request has a required field."""
        return any(field.is_required() for field in self.request.model_fields.values())


COMMAND_SPECS: Final[Mapping[CommandType, CommandSpec]] = {
    CommandType.STRATEGY_CREATE: CommandSpec(
        handler="create_strategy",
        request=StrategyCommand,
        sealed=SealedContent.PASSWORD,
        answer=CreatedStrategy,
        starts_work=True,
        on_failure="Unable to create strategy",
        summary="Create a strategy.",
    ),
    CommandType.STRATEGY_APPLY: CommandSpec(
        handler="apply_strategy",
        request=VerbRequest,
        answer=Strategy,
        on_failure="Unable to apply strategy",
        summary="Start the strategy.",
    ),
    CommandType.STRATEGY_ABORT: CommandSpec(
        handler="abort_strategy",
        request=VerbRequest,
        answer=Strategy,
        on_failure="Unable to abort strategy",
        summary="Start no more steps.",
    ),
    CommandType.STRATEGY_DELETE: CommandSpec(
        handler="delete_strategy",
        request=VerbRequest,
        answer=Strategy,
        on_failure="Unable to delete strategy",
        summary="Make the strategy history.",
    ),
    CommandType.STRATEGY_PAUSE: CommandSpec(
        handler="pause_strategy",
        request=PauseRequest,
        answer=Strategy,
        on_failure="Unable to pause strategy",
        summary="Hold the strategy: no further site starts.",
    ),
    CommandType.STRATEGY_RESUME: CommandSpec(
        handler="resume_strategy",
        request=ResumeRequest,
        sealed=SealedContent.PASSWORD,
        is_sealed_needed=False,
        answer=ResumedStrategy,
        on_failure="Unable to resume strategy",
        summary="End the holds of the strategy.",
    ),
    CommandType.STRATEGY_CANCEL: CommandSpec(
        handler="cancel_strategy",
        request=CancelRequest,
        answer=Strategy,
        on_failure="Unable to cancel strategy",
        summary="Start no more steps and stop those that run.",
    ),
    CommandType.STRATEGY_APPROVE: CommandSpec(
        handler="approve_stage",
        request=DecisionRequest,
        answer=Strategy,
        is_http_only=True,
        on_failure="Unable to approve stage",
        summary="Let the stage after one start.",
    ),
    CommandType.STRATEGY_DENY: CommandSpec(
        handler="deny_stage",
        request=DecisionRequest,
        answer=Strategy,
        is_http_only=True,
        on_failure="Unable to deny stage",
        summary="Abort the strategy after a stage.",
    ),
    CommandType.STRATEGY_PREVIEW: CommandSpec(
        handler="preview_strategy",
        request=StrategyCommand,
        answer=StrategyPreview,
        is_question=True,
        starts_work=True,
        needs_planning=False,
        on_failure="Unable to preview strategy",
        summary="Ask which strategy a request would create, and what is against it.",
    ),
    CommandType.STRATEGY_UPDATE: CommandSpec(
        handler="update_strategy",
        request=StrategyUpdate,
        answer=Strategy,
        on_failure="Unable to update strategy",
        summary="Change width, budget or time limits of the strategy.",
    ),
    CommandType.STRATEGY_RETRY: CommandSpec(
        handler="retry_strategy",
        request=StrategyRetry,
        subject=SubjectKind.STRATEGY,
        sealed=SealedContent.PASSWORD,
        answer=CreatedStrategy,
        starts_work=True,
        on_failure="Unable to retry strategy",
        summary="Create a strategy for sites of an earlier one.",
    ),
    CommandType.STEP_HOLD: CommandSpec(
        handler="hold_step",
        request=StepHoldRequest,
        subject=SubjectKind.STEP,
        answer=Step,
        on_failure="Unable to hold step",
        summary="Hold one site of the strategy, or end its hold.",
    ),
    CommandType.STEP_FIRST: CommandSpec(
        handler="put_step_first",
        subject=SubjectKind.STEP,
        answer=Step,
        on_failure="Unable to put step first",
        summary="Start one site before all that have not started.",
    ),
    CommandType.STEP_CANCEL: CommandSpec(
        handler="cancel_step",
        request=StepCancelRequest,
        subject=SubjectKind.STEP,
        answer=CancelledStep,
        on_failure="Unable to cancel step",
        summary="Stop the work on one site.",
    ),
    CommandType.STEP_RETRY: CommandSpec(
        handler="retry_step",
        subject=SubjectKind.STEP,
        answer=Step,
        on_failure="Unable to retry step",
        summary="Begin the work on one site anew that failed or was cancelled.",
    ),
    CommandType.SUBCLOUD_ADD: CommandSpec(
        handler="add_subcloud",
        request=NewSubcloud,
        answer=Subcloud,
        on_failure="Unable to add subcloud",
        summary="Add a subcloud.",
    ),
    CommandType.SUBCLOUD_UPDATE: CommandSpec(
        handler="update_subcloud",
        request=SubcloudChange,
        subject=SubjectKind.SUBCLOUD,
        answer=Subcloud,
        on_failure="Unable to update subcloud",
        summary="Change, manage or unmanage a subcloud.",
    ),
    CommandType.SUBCLOUD_DELETE: CommandSpec(
        handler="delete_subcloud",
        subject=SubjectKind.SUBCLOUD,
        on_failure="Unable to delete subcloud",
        summary="Remove a subcloud.",
    ),
    CommandType.SUBCLOUD_PRESTAGE: CommandSpec(
        handler="prestage_subcloud",
        request=PrestageCommand,
        subject=SubjectKind.SUBCLOUD,
        sealed=SealedContent.PASSWORD,
        answer=PrestagedSubcloud,
        starts_work=True,
        on_failure="Unable to prestage subcloud",
        summary="Prestage one subcloud, without a strategy.",
    ),
    CommandType.SUBCLOUD_STAGED: CommandSpec(
        handler="forget_staged",
        request=StagedRequest,
        subject=SubjectKind.SUBCLOUD,
        answer=Subcloud,
        on_failure="Unable to change what is staged on the subcloud",
        summary="Say that it is not known any more whether a release is staged on a subcloud.",
    ),
    CommandType.SUBCLOUD_UNSTAGE: CommandSpec(
        handler="unstage_release",
        request=UnstageRequest,
        subject=SubjectKind.SUBCLOUD,
        sealed=SealedContent.PASSWORD,
        answer=UnstagedSubcloud,
        on_failure="Unable to unstage subcloud",
        summary="Remove a staged release from a subcloud.",
    ),
    CommandType.GROUP_CREATE: CommandSpec(
        handler="create_group",
        request=GroupRequest,
        answer=Group,
        on_failure="Unable to create subcloud group",
        summary="Create a group.",
    ),
    CommandType.GROUP_UPDATE: CommandSpec(
        handler="update_group",
        request=GroupChange,
        subject=SubjectKind.GROUP,
        answer=Group,
        on_failure="Unable to update subcloud group",
        summary="Change a group.",
    ),
    CommandType.GROUP_DELETE: CommandSpec(
        handler="delete_group",
        subject=SubjectKind.GROUP,
        on_failure="Unable to delete subcloud group",
        summary="Remove an empty group.",
    ),
    CommandType.WEBHOOK_CREATE: CommandSpec(
        handler="create_webhook",
        request=WebhookRequest,
        sealed=SealedContent.SECRET,
        answer=TaggedWebhook,
        needs_planning=False,
        on_failure="Unable to create webhook",
        summary="Create a webhook.",
    ),
    CommandType.WEBHOOK_UPDATE: CommandSpec(
        handler="update_webhook",
        request=WebhookChange,
        subject=SubjectKind.WEBHOOK,
        sealed=SealedContent.SECRET,
        is_sealed_needed=False,
        # With the tag if there is a new secret.
        answer=TaggedWebhook | Webhook,
        needs_planning=False,
        on_failure="Unable to update webhook",
        summary="Change a webhook.",
    ),
    CommandType.WEBHOOK_DELETE: CommandSpec(
        handler="delete_webhook",
        subject=SubjectKind.WEBHOOK,
        needs_planning=False,
        on_failure="Unable to delete webhook",
        summary="Remove a webhook.",
    ),
    CommandType.WEBHOOK_PING: CommandSpec(
        handler="ping_webhook",
        subject=SubjectKind.WEBHOOK,
        answer=Delivery,
        needs_planning=False,
        on_failure="Unable to ping webhook",
        summary="Have a test sent to a webhook.",
    ),
    CommandType.WEBHOOK_REDELIVER: CommandSpec(
        handler="redeliver",
        request=RedeliveryRequest,
        subject=SubjectKind.WEBHOOK,
        answer=Delivery,
        needs_planning=False,
        on_failure="Unable to redeliver webhook",
        summary="Have an event sent once more.",
    ),
}

# Those that other publishers may send over RabbitMQ.
PUBLISHED_SPECS: Final[Mapping[CommandType, CommandSpec]] = {
    kind: spec for kind, spec in COMMAND_SPECS.items() if not spec.is_http_only
}
