"""An embedded service sends to the example of a receiver, which verifies with code of its own."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from sqlalchemy import select

from db.schema import webhooks
from messages.commands import Answer, Command, CommandType
from runner.fake import FakeRunner
from service.periodic_thread import dead_threads
from service.settings import Settings
from service.wiring import Process, build
from tests.integration.webhooks.webhook_installation import SECRET
from tests.support.installation import Installation
from tests.support.verifying_receiver import verifying
from tests.support.waiting import PATIENCE_S


def ask(installation: Process, kind: CommandType, subject: str | None = None, **data: object) -> Answer:
    """Send a command through the transport, with a sealed secret."""
    command = Command(type=kind, subject=subject, data=data)
    sealed = installation.sealer.seal(SECRET, bound_to=command.id)
    transport = installation.messaging.command_transport(30.0)
    return asyncio.run(transport.request(command.model_copy(update={"sealed_password": sealed})))


def test_a_service_sends(tmp_path: Path) -> None:
    """What happens in a running service reaches a receiver within seconds, signed; a stop lets go of the webhook."""
    settings = Settings(
        data_dir=tmp_path,
        release="23.09",
        deploy_dir=tmp_path,
        feed_dir=tmp_path,
        webhook_allow_networks="127.0.0.1/32",
    )
    installation = build(settings, runner_factory=lambda done: FakeRunner(slots=1, on_finished=done))
    installation.lifecycle.start()
    try:
        with verifying(SECRET) as receiver:
            made = ask(installation, CommandType.WEBHOOK_CREATE, name="ops", url=receiver.url, types=["subcloud."])
            added = ask(installation, CommandType.SUBCLOUD_ADD, name="edge-1", software_version="22.12")
            changed = ask(installation, CommandType.SUBCLOUD_UPDATE, "edge-1", location="there")
            event = receiver.next()
        alive = dead_threads()
    finally:
        installation.lifecycle.stop()
    with installation.database.read() as connection:
        claimed_by = connection.execute(select(webhooks.c.claimed_by)).scalar_one()
    installation.database.close()

    assert [200, 200, 200] == [answer.status for answer in (made, added, changed)]
    assert ("io.prestager.event.subcloud.updated", "subcloud/edge-1") == (event["type"], event["subject"])
    assert ([], None) == (alive, claimed_by)


def test_holds_are_sent(tmp_path: Path) -> None:
    """The begin and the end of a hold reach a receiver that asks for them, with reason and site."""
    installation = Installation.embedded(tmp_path, webhook_allow_networks="127.0.0.1/32")
    try:
        installation.add_site("edge-1")
        with verifying(SECRET) as receiver:
            hook = {"name": "ops", "url": receiver.url, "types": ["strategy.hold."]}
            made = installation.ask(CommandType.WEBHOOK_CREATE, password=SECRET, **hook)
            created = installation.create()
            for held in (True, False):
                installation.ask(CommandType.STEP_HOLD, subject="edge-1", held=held, reason="no power")
            told = [receiver.next() for _ in range(2)]
    finally:
        installation.stop()

    assert [200, 200] == [made.status, created.status]
    kinds = ("opened", "ended")
    assert [f"io.prestager.event.strategy.hold.{kind}" for kind in kinds] == [event["type"] for event in told]
    assert [("no power", "edge-1")] * 2 == [(event["data"]["reason"], event["data"]["subcloud"]) for event in told]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"webhook-id": "a", "webhook-timestamp": "1", "webhook-signature": "v1,x"},
        {"webhook-id": "a", "webhook-timestamp": "never", "webhook-signature": ""},
    ],
)
def test_the_example_refuses_strangers(headers: dict[str, str]) -> None:
    """The example takes nothing in that is not signed by its secret."""
    with verifying(SECRET) as receiver:
        request = urllib.request.Request(receiver.url, data=b"{}", headers=headers)
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(request, timeout=PATIENCE_S)
        refused.value.close()

    assert 401 == refused.value.code
