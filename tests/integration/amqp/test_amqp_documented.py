"""What really travels over RabbitMQ and the stream, held against the AsyncAPI document: nothing undocumented passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import pytest
from jsonschema import Draft202012Validator
from pika.adapters.blocking_connection import BlockingChannel

from api.events import snapshot
from api.stream.follower import Filter, event_frame, frame
from apidocs.asyncapi.assembly import build_document
from broker.amqp.topology import EVENTS
from db import read_queries
from db.forecaster import Forecaster
from db.schema import events, strategies
from db.unit_of_work import unit_of_work
from db.webhooks import disable
from messages.command_specs import PUBLISHED_SPECS
from messages.commands import Command, CommandType
from messages.event_types import EVENT_TYPES, Dropped
from messages.queues import COMMANDS
from runner.fake import FakeRunEnd
from runner.interface import PlaybookJob
from runner.progress import COUNTED, Progress
from statemachine.states import RunOutcome
from tests.integration.amqp.test_amqp_traces import end, traced
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.otlp_collector import Collector
from tests.support.virtual_host import TYPE, Requester, VirtualHost, command_event
from tests.support.waiting import wait_for

HERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

# What is not brought about here, and why.
NOT_CAPTURED = {
    "database.restored": "an operator's command tells it: tests of its own, against the document too",
    **{
        f"subcloud.host-key-{kind}": "no SSH server is here: tests of its own, against the document too"
        for kind in ("recorded", "changed", "forgotten")
    },
    "run.unstage.prestage-precheck": "prechecks run no playbook, so there is no progress to tell",
    "run.prestage.prestage-precheck": "prechecks run no playbook, so there is no progress to tell",
    "subcloud.online": "the probe asks real sites: tests of its own; the event has no data",
    "subcloud.offline": "the probe asks real sites: tests of its own; the event has no data",
}
SEALED = dict.fromkeys((CommandType.STRATEGY_CREATE, CommandType.SUBCLOUD_PRESTAGE, CommandType.SUBCLOUD_UNSTAGE), "pw")
# The password in the place of the one that is kept.
SEALED[CommandType.STRATEGY_RESUME] = "pw"
SEALED[CommandType.STRATEGY_RETRY] = "pw"
SEALED[CommandType.WEBHOOK_CREATE] = f"whsec_{'A' * 32}"
SITE = {
    "software_version": "22.12",
    "management-state": "managed",
    "availability-status": "online",
    "external_oam_floating_address": "10.10.10.2",
    "connection": {"ansible_port": 22},
}
GROUP = {"description": "up there", "update_apply_type": "serial", "max_parallel_subclouds": 2}
PROGRESS = Progress(play="Stage", task="Take", tasks=2, results={**dict.fromkeys(COUNTED, 0), "ok": 1})


def closed(part: Any) -> Any:
    """Return a schema that takes no key that it does not name."""
    if isinstance(part, list):
        return [closed(inner) for inner in part]
    if not isinstance(part, dict):
        return part
    found = {key: closed(inner) for key, inner in part.items()}
    return {**found, "additionalProperties": False} if part.get("type") == "object" and "properties" in part else found


class WebhookRepository:
    """The document as a judge."""

    def __init__(self) -> None:
        document = build_document()
        self._messages = document["components"]["messages"]
        self._schemas = closed(document["components"]["schemas"])

    def faults(self, message: str, part: str, told: Any) -> list[str]:
        """Return what is wrong with the payload or the headers of a message."""
        schema = {**closed(self._messages[message][part]), "components": {"schemas": self._schemas}}
        found = Draft202012Validator(schema).iter_errors(told)
        return [f"{message} {part} {error.json_path}: {error.message} {error.context}" for error in found]


@pytest.fixture(scope="module")
def book() -> WebhookRepository:
    """Give the judge."""
    return WebhookRepository()


def headers_of(properties: pika.BasicProperties) -> dict[str, Any]:
    """Return the properties of a message as the document calls them."""
    named = {
        "replyTo": properties.reply_to,
        "correlationId": properties.correlation_id,
        "expiration": properties.expiration,
        "userId": properties.user_id,
        "messageId": properties.message_id,
        "type": properties.type,
        "appId": properties.app_id,
        **(properties.headers or {}),
    }
    return {name: value for name, value in named.items() if value is not None}


def decide(job: PlaybookJob) -> FakeRunEnd:
    """Fail at one site, and take long at another."""
    if job.playbook.stem not in {"prestage_sw_packages", "unstage_release"}:
        return FakeRunEnd(delay_s=0.002, progress=PROGRESS)
    if job.host == "broken":
        return FakeRunEnd(outcome=RunOutcome.FAILED, details="no space left", progress=PROGRESS)
    return FakeRunEnd(delay_s=0.5 if job.host == "slow" else 0.002, progress=PROGRESS)


class Talk:
    """Sends commands as the API and as a foreign publisher do, and keeps the answers as they came."""

    def __init__(self, installation: StartedInstallation, requester: Requester) -> None:
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.properties: list[tuple[str, dict[str, Any]]] = []
        self._node = installation
        self._requester = requester

    def ask(self, kind: CommandType, subject: str | None = None, *, status: int = 200, **data: Any) -> Any:
        """Have the API's transport carry a command."""
        command = Command(type=kind, subject=subject, data=data, requested_by="me", origin="::1", traceparent=HERE)
        if kind in SEALED:
            sealed = self._node.sealer.seal(SEALED[kind], bound_to=command.id)
            command = command.model_copy(update={"sealed_password": sealed})
        answer = self._node.execute(command)
        assert status == answer.status, answer
        self.answers.append((kind, answer.model_dump(mode="json")))
        return answer.body

    def publish(
        self, kind: CommandType, mark: str, *, subject: str | None = None, status: int = 200, **data: Any
    ) -> None:
        """Publish a command and keep its answer with its properties."""
        document = {**command_event(kind, mark, "//ci.example.net/night", **data), "traceparent": HERE}
        if subject is not None:
            document["subject"] = subject
        if not data:
            # What need not be said is left out.
            del document["data"]["request"]
        if not data and kind not in SEALED:
            del document["data"]
        if kind in SEALED:
            bound_to = f"amqp:{self._requester.user}/{quote(document['source'], safe='')}/{mark}"
            document["data"]["sealed_password"] = self._node.sealer.seal(SEALED[kind], bound_to=bound_to)
        self._requester.send(document, mark=mark, headers={"traceparent": HERE})
        properties, body = wait_for(self._heard)
        assert mark == properties.correlation_id
        assert status == json.loads(body)["status"], body
        self.answers.append((kind, json.loads(body)))
        self.properties.append((kind, headers_of(properties)))

    def _heard(self) -> tuple[pika.BasicProperties, bytes] | None:
        method, properties, body = self._requester.channel.basic_get(self._requester.queue, auto_ack=True)
        return None if method is None else (properties, body)


def snapshot_of(installation: StartedInstallation) -> bytes:
    """Return the first message of a stream."""
    with installation.database.read() as connection:
        return snapshot(connection, Filter(), "you have just come")[1]


def data_of(message: bytes) -> Any:
    """Return the data of a message of the stream."""
    (line,) = [line for line in message.splitlines() if line.startswith(b"data: ")]
    return json.loads(line[len(b"data: ") :])


def is_over(installation: StartedInstallation) -> bool:
    """Tell whether the newest strategy has ended."""
    return installation.rows(strategies)[-1]["state"] in {"complete", "failed", "aborted"}


def inventory(talk: Talk) -> None:
    """Change the inventory in every way."""
    for name in ("slow", "broken", "edge", "old"):
        talk.ask(CommandType.SUBCLOUD_ADD, name=name, **SITE)
    talk.ask(CommandType.SUBCLOUD_UPDATE, "edge", description="by the sea")
    talk.ask(CommandType.SUBCLOUD_UPDATE, "edge", connection={"ansible_port": 2222})
    talk.ask(CommandType.SUBCLOUD_UPDATE, "old", **{"management-state": "unmanaged", "availability-status": "offline"})
    talk.publish(CommandType.SUBCLOUD_STAGED, "f1", subject="old", release="23.09", verdict="unknown")
    talk.publish(CommandType.SUBCLOUD_DELETE, "d1", subject="old")
    talk.publish(CommandType.SUBCLOUD_DELETE, "d2", subject="old", status=404)
    talk.publish(CommandType.GROUP_CREATE, "g1", name="north", **GROUP)
    talk.ask(CommandType.GROUP_UPDATE, "north", max_parallel_subclouds=3)
    talk.ask(CommandType.GROUP_DELETE, "north")


def work(talk: Talk, installation: StartedInstallation) -> list[bytes]:
    """Have strategies end in every way; return snapshots that were taken meanwhile."""
    seen = [snapshot_of(installation)]
    talk.ask(CommandType.STRATEGY_APPLY, status=422, type="prestage")
    talk.ask(CommandType.STRATEGY_PREVIEW, type="prestage", clouds=["broken"])
    talk.publish(CommandType.STRATEGY_PREVIEW, "v1", type="prestage", exclude={"selector": "lab"})
    talk.ask(CommandType.STRATEGY_CREATE, type="prestage", cloud_name="broken")
    talk.publish(CommandType.STRATEGY_APPLY, "a1", type="prestage")
    wait_for(lambda: is_over(installation))
    seen.append(snapshot_of(installation))
    talk.publish(CommandType.STRATEGY_DELETE, "x1", type="prestage")
    talk.publish(CommandType.STRATEGY_CREATE, "c2", type="prestage", cloud_name="edge")
    talk.ask(CommandType.STRATEGY_APPLY, type=None)
    wait_for(lambda: is_over(installation))
    talk.ask(CommandType.STRATEGY_DELETE)
    talk.ask(CommandType.STRATEGY_CREATE, type="prestage", **{"subcloud-apply-type": "serial", "force": "true"})
    talk.ask(CommandType.STRATEGY_APPLY, type="prestage")
    wait_for(lambda: data_of(snapshot_of(installation))["runs"])
    # As the coordinator does every few seconds.
    Forecaster(installation.database).make()
    seen.append(snapshot_of(installation))
    talk.ask(CommandType.STRATEGY_ABORT, type="prestage")
    wait_for(lambda: is_over(installation))
    held(talk, installation)
    talk.publish(CommandType.SUBCLOUD_PRESTAGE, "p1", subject="edge")
    wait_for(lambda: installation.step("edge")["state"] == "complete")
    talk.publish(CommandType.SUBCLOUD_UNSTAGE, "u1", subject="edge", release="23.09")
    wait_for(
        lambda: installation.step("edge")["type"] == "unstage" and installation.step("edge")["state"] == "complete"
    )
    talk.publish(CommandType.SUBCLOUD_UNSTAGE, "u2", subject="broken", release="23.09")
    wait_for(
        lambda: installation.step("broken")["type"] == "unstage" and installation.step("broken")["state"] == "failed"
    )
    talk.publish(CommandType.SUBCLOUD_UNSTAGE, "u3", subject="slow", release="23.09")
    talk.ask(CommandType.STEP_CANCEL, "slow")
    wait_for(lambda: installation.step("slow")["finished_at"] is not None)
    return [*seen, snapshot_of(installation)]


def held(talk: Talk, installation: StartedInstallation) -> None:
    """Hold, change and cancel a strategy and its sites in every way; a held site keeps it from ending meanwhile."""
    talk.ask(CommandType.STRATEGY_DELETE)
    talk.ask(CommandType.STRATEGY_CREATE, type="prestage", rollout={"mode": "window"}, force="true")
    talk.ask(CommandType.STEP_HOLD, "edge", held=True, reason="no power")
    talk.ask(CommandType.STRATEGY_APPLY, type="prestage")
    talk.ask(CommandType.STRATEGY_PAUSE, type="prestage", reason="storm", scope="phases")
    talk.publish(CommandType.STRATEGY_UPDATE, "m1", type="prestage", rollout={"max-failures": 5})
    talk.publish(CommandType.STRATEGY_RESUME, "r1", type="prestage")
    talk.publish(CommandType.STEP_FIRST, "h1", subject="edge")
    talk.publish(CommandType.STEP_HOLD, "h2", subject="edge", held=True)
    talk.publish(CommandType.STEP_CANCEL, "k1", subject="broken", **{"grace-s": 1})
    talk.publish(CommandType.STEP_RETRY, "y1", subject="broken")
    talk.ask(CommandType.STEP_RETRY, "broken", status=422)
    talk.publish(CommandType.STRATEGY_CANCEL, "k2", type="prestage")
    wait_for(lambda: is_over(installation))
    ended = str(installation.rows(strategies)[-1]["id"])
    talk.publish(CommandType.STRATEGY_RETRY, "y2", subject=ended, clouds=["edge"])
    talk.ask(CommandType.STRATEGY_RETRY, ended, states=["cancelled", "aborted"])
    talk.ask(CommandType.STRATEGY_DELETE)


def webhooks(talk: Talk, installation: StartedInstallation) -> None:
    """Use a webhook in every way, and have one disabled as its sender does after days of failures."""
    made = talk.ask(CommandType.WEBHOOK_CREATE, name="ops", url="http://127.0.0.1:9/", types=["webhook."])
    delivery = talk.ask(CommandType.WEBHOOK_PING, "ops")
    talk.publish(CommandType.WEBHOOK_REDELIVER, "w1", subject="ops", delivery=delivery["id"])
    talk.ask(CommandType.WEBHOOK_UPDATE, "ops", subcloud="edge")
    with unit_of_work(installation.database) as work:
        assert disable(work, made["id"], "Every try has failed for five days.")
    talk.ask(CommandType.WEBHOOK_PING, "ops", status=422)
    talk.ask(CommandType.WEBHOOK_DELETE, "ops")


def captured(channel: BlockingChannel, queue: str) -> list[tuple[pika.BasicProperties, Any]]:
    """Return all messages of a queue."""
    found = []
    while (message := channel.basic_get(queue, auto_ack=True))[0] is not None:
        found.append((message[1], json.loads(message[2])))
    return found


def test_what_travels_is_what_is_documented(
    start: Callable[..., StartedInstallation],
    host: VirtualHost,
    requester: Requester,
    book: WebhookRepository,
    tmp_path: Path,
) -> None:
    """Every command, answer, event and message of the stream fits its description, and each has been seen."""
    (tmp_path / "deploy" / "23.09").mkdir(parents=True)
    (tmp_path / "deploy" / "23.09" / "prestage_images_list.txt").touch()
    with Collector() as collector, host.channel() as channel:
        installation = start(playbooks=FakePlaybooks(decide), **traced(collector))
        queues = [channel.queue_declare("", exclusive=True).method.queue for _ in range(2)]
        for queue, exchange in zip(queues, (COMMANDS, EVENTS), strict=True):
            channel.queue_bind(queue, exchange, "#")
        talk = Talk(installation, requester)
        inventory(talk)
        snapshots = work(talk, installation)
        webhooks(talk, installation)
        wait_for(lambda: all(row["published"] for row in installation.rows(events)))
        asked, told = (captured(channel, queue) for queue in queues)
        with installation.database.read() as connection:
            rows = read_queries.events_after(connection, 0, 10_000)
        end(installation)

    faults = []
    for properties, document in asked:
        kind = document["type"].removeprefix(TYPE)
        faults += book.faults(f"command.{kind}", "payload", document) + book.faults(
            f"command.{kind}", "headers", headers_of(properties)
        )
    for kind, answer in talk.answers:
        faults += book.faults(f"answer.{kind}", "payload", answer)
    for kind, headers in talk.properties:
        faults += book.faults(f"answer.{kind}", "headers", headers)
    for properties, document in told:
        faults += book.faults(f"event.{properties.type}", "payload", document)
    for row in rows:
        faults += book.faults(f"event.{row['type']}", "payload", data_of(event_frame(row, "/prestager/here").content))
    for message in snapshots:
        faults += book.faults("stream.snapshot", "payload", data_of(message))
    dropped = frame("dropped", Dropped(reason="the service stops"))
    faults += book.faults("stream.dropped", "payload", data_of(dropped))

    assert [] == faults
    assert PUBLISHED_SPECS.keys() == {document["type"].removeprefix(TYPE) for _, document in asked}
    assert PUBLISHED_SPECS.keys() == {kind for kind, answer in talk.answers if answer["status"] == 200}
    assert {one.name for one in EVENT_TYPES} == {properties.type for properties, _ in told} | set(NOT_CAPTURED)
    assert any("traceparent" in document for _, document in told)
    assert any("preparation" in document["data"] for _, document in told)


def test_what_is_not_documented_is_a_fault(book: WebhookRepository) -> None:
    """The check above would see a key too many, one too few, and a wrong value, however deep."""
    event = {
        "specversion": "1.0",
        "id": "1",
        "source": "/prestager/here",
        "type": "io.prestager.event.step.prestage.aborted",
        "subject": "strategy/1",
        "time": "2026-11-22T08:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {"steps": [{"step": 1, "subcloud": "edge"}]},
    }
    deeper = {**event, "data": {"steps": [{"step": 1, "subcloud": "edge", "why": "no"}]}}

    assert [] == book.faults("event.step.prestage.aborted", "payload", event)
    for wrong in ({**event, "more": 1}, {**event, "subject": "step/1"}, {**event, "data": {}}, deeper):
        assert book.faults("event.step.prestage.aborted", "payload", wrong)
