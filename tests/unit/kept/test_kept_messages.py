"""Names that cross the border of a process, and values in rows: other programs and older databases have them.

Each is written out here and not taken from the code. A name that is added is added here; one that is here stays.
"""

from __future__ import annotations

from enum import StrEnum

import pytest

from broker.amqp.cloudevents import TYPE_PREFIX
from broker.amqp.topology import EXCHANGES, QUEUES, REPLIES
from db.tokens import Role
from db.webhook_deliveries import Cause, DeliveryState
from messages.commands import CommandType
from messages.event_types import EVENT_TYPES, PING
from messages.queues import QUEUE_OF
from statemachine import states
from statemachine.host_keys import HostKeyOrigin, HostKeyPolicy

EVENTS = [
    "strategy.prestage.initial",
    "strategy.prestage.applying",
    "strategy.prestage.abort-requested",
    "strategy.prestage.aborting",
    "strategy.prestage.complete",
    "strategy.prestage.failed",
    "strategy.prestage.aborted",
    "strategy.prestage.deleted",
    "strategy.hold.opened",
    "strategy.hold.ended",
    "strategy.updated",
    "strategy.progress",
    "strategy.cancel.requested",
    "step.prestage.initial",
    "step.prestage.prestage-precheck",
    "step.prestage.prestage-prepare",
    "step.prestage.prestaging-packages",
    "step.prestage.prestaging-images",
    "step.prestage.complete",
    "step.prestage.failed",
    "step.prestage.aborted",
    "step.unstage.initial",
    "step.unstage.prestage-precheck",
    "step.unstage.unstaging",
    "step.unstage.complete",
    "step.unstage.failed",
    "step.unstage.aborted",
    "run.prestage.prestage-precheck",
    "run.prestage.prestage-prepare",
    "run.prestage.prestaging-packages",
    "run.prestage.prestaging-images",
    "run.unstage.prestage-precheck",
    "run.unstage.unstaging",
    "subcloud.updated",
    "subcloud.address-changed",
    "subcloud.host-key-recorded",
    "subcloud.host-key-changed",
    "subcloud.host-key-forgotten",
    "subcloud.deleted",
    "subcloud.online",
    "subcloud.offline",
    "webhook.disabled",
    "database.restored",
]
COMMANDS = [
    "strategy.create",
    "strategy.apply",
    "strategy.abort",
    "strategy.delete",
    "strategy.pause",
    "strategy.approve",
    "strategy.deny",
    "strategy.resume",
    "strategy.cancel",
    "strategy.preview",
    "strategy.update",
    "strategy.retry",
    "step.hold",
    "step.first",
    "step.cancel",
    "step.retry",
    "subcloud.add",
    "subcloud.update",
    "subcloud.delete",
    "subcloud.prestage",
    "subcloud.staged",
    "subcloud.unstage",
    "group.create",
    "group.update",
    "group.delete",
    "webhook.create",
    "webhook.update",
    "webhook.delete",
    "webhook.ping",
    "webhook.redeliver",
]


def test_actors_and_their_queues() -> None:
    """Dramatiq's actors and the queues of their messages keep their names."""
    assert {
        "execute_command": "prestager.commands",
        "coordinate": "prestager.coordinator",
        "inspect_site": "prestager.prechecks",
        "stage_content": "prestager.subclouds",
        "prepare_release": "prestager.prepare",
    } == QUEUE_OF


def test_queues_and_exchanges() -> None:
    """RabbitMQ's queues, dead letters and exchanges keep their names, and so do queues for answers."""
    work = ["commands", "coordinator", "prechecks", "subclouds", "prepare"]
    assert [f"prestager.{name}" for name in work] + [f"prestager.{name}.XQ" for name in work] == [
        queue.name for queue in QUEUES
    ]
    assert {"prestager.commands": "topic", "prestager.events": "topic", "prestager.control": "fanout"} == {
        exchange.name: exchange.kind for exchange in EXCHANGES
    }
    assert REPLIES == "prestager.replies"


def test_arguments_of_queues() -> None:
    """Queues keep their arguments: RabbitMQ refuses one of the same name with others."""
    work = {
        "x-queue-type": "quorum",
        "x-delivery-limit": 5,
        "x-dead-letter-exchange": "",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    more = {
        "prestager.commands": {"x-single-active-consumer": True, "x-max-length": 10_000},
        "prestager.coordinator": {"x-single-active-consumer": True},
    }
    dead = {"x-queue-type": "quorum", "x-message-ttl": 1_209_600_000, "x-delivery-limit": 1_000_000_000}
    for queue in QUEUES:
        if queue.name.endswith(".XQ"):
            assert dead == queue.arguments
        else:
            key = {"x-dead-letter-routing-key": f"{queue.name}.XQ"}
            assert work | key | more.get(queue.name, {}) == queue.arguments


def test_event_types() -> None:
    """Events keep their types, and a test of a webhook too."""
    assert sorted(EVENTS) == sorted(event.name for event in EVENT_TYPES)
    assert PING.name == "webhook.ping"


def test_command_types() -> None:
    """Commands keep their types, and the prefix that makes them types of CloudEvents."""
    assert sorted(COMMANDS) == sorted(map(str, CommandType))
    assert TYPE_PREFIX == "io.prestager.command."


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (
            states.StrategyState,
            ["initial", "applying", "abort requested", "aborting", "complete", "failed", "aborted", "deleting"],
        ),
        (
            states.StepState,
            [
                *["initial", "prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"],
                *["unstaging", "complete", "failed", "aborted"],
            ],
        ),
        (states.StepType, ["prestage", "unstage"]),
        (states.RunState, ["queued", "running", "finished"]),
        (states.RunOutcome, ["succeeded", "skipped", "failed", "lost", "drained", "withdrawn", "cancelled"]),
        (states.PreparationState, ["running", "complete", "failed", "void"]),
        (states.PrestageStatus, ["prestaging", "failed", "complete"]),
        (states.ApplyType, ["parallel", "serial"]),
        (states.ManagementState, ["managed", "unmanaged"]),
        (states.Availability, ["online", "offline"]),
        (DeliveryState, ["pending", "delivered", "failed"]),
        (Cause, ["event", "ping", "redelivery"]),
        (Role, ["admin", "configurator", "operator", "reader"]),
        (HostKeyPolicy, ["accept-new", "strict", "ignore"]),
        (HostKeyOrigin, ["first-contact", "reinstalled", "given"]),
    ],
)
def test_values_in_rows(kind: type[StrEnum], values: list[str]) -> None:
    """Values in rows, settings and answers stay as they are: a database that is upgraded holds them."""
    assert sorted(values) == sorted(map(str, kind))
