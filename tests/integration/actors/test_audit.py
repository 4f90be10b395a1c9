"""What the coordinator writes down of who asked what."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from actors.coordinator import coordinator
from actors.coordinator.context import CommandContext
from actors.coordinator.errors import CommandRefusedError
from db.schema import audit, events, strategies
from messages.commands import Command, CommandType
from tests.support.installation import Installation

GROUP = {"name": "edge", "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}


def test_each_command_once(installation: Installation) -> None:
    """Each command has one entry with its answer, a refused one too; a repeat of it has none."""
    first = Command(
        type=CommandType.GROUP_CREATE, id="ops/1", data=GROUP, requested_by="ops", origin="10.0.0.7", subject=None
    )
    installation.execute(first)
    installation.execute(first)
    installation.execute(first.model_copy(update={"id": "ops/2"}))

    entries = [
        (row["caller"], row["origin"], row["command_id"], row["type"], row["status"])
        for row in installation.rows(audit, caller="ops")
    ]
    assert [
        ("ops", "10.0.0.7", "ops/1", "group.create", 200),
        ("ops", "10.0.0.7", "ops/2", "group.create", 400),
    ] == entries


def test_what_carries_nothing_out_is_recorded_too(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that was used for another command, a controller that is silent and a fault of ours leave an entry each."""
    first = Command(type=CommandType.GROUP_CREATE, id="ops/1", data=GROUP)
    installation.execute(first)
    installation.execute(first.model_copy(update={"data": {**GROUP, "name": "other"}}))

    def refuse(*_: object) -> None:
        raise CommandRefusedError(503, "The controller is silent.")

    for number, handler in ((2, refuse), (3, lambda *_: 1 / 0)):
        monkeypatch.setitem(coordinator._HANDLERS, CommandType.GROUP_CREATE, handler)
        installation.execute(first.model_copy(update={"id": f"ops/{number}"}))

    assert [("ops/1", 200), ("ops/1", 409), ("ops/2", 503), ("ops/3", 500)] == [
        (row["command_id"], row["status"]) for row in installation.rows(audit)
    ]


@pytest.mark.parametrize("status", [422, 503])
def test_a_refused_command_leaves_no_event(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A handler that refuses after it emitted an event and enqueued a message leaves neither, and its answer stays."""

    def refuse(context: CommandContext, _: Command) -> None:
        context.work.emit("group.created", "group/edge", {})
        context.work.enqueue("stage_content", [7])
        raise CommandRefusedError(HTTPStatus(status), "Not now.")

    monkeypatch.setitem(coordinator._HANDLERS, CommandType.GROUP_CREATE, refuse)

    answer = installation.execute(Command(type=CommandType.GROUP_CREATE, data=GROUP))

    assert (status, "Not now.") == (answer.status, answer.detail)
    assert [status] == [row["status"] for row in installation.rows(audit)]
    assert ([], []) == (installation.rows(events), installation.messages())


def test_a_fault_that_cannot_be_recorded_is_answered(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever becomes of the entry, the answer to a command that broke is given."""
    monkeypatch.setattr(coordinator, "record", lambda *_: 1 / 0)

    assert 500 == installation.execute(Command(type=CommandType.GROUP_CREATE, data=GROUP)).status


def test_the_same_from_elsewhere_is_the_same(installation: Installation) -> None:
    """A repeat that comes by another address is a repeat."""
    command = Command(type=CommandType.GROUP_CREATE, id="ops/1", data=GROUP, origin="10.0.0.7")
    first = installation.execute(command)

    assert first == installation.execute(command.model_copy(update={"origin": "10.0.0.8"}))


def test_no_body_and_no_secret(installation: Installation) -> None:
    """An entry holds nothing of the body."""
    installation.add_site("a")
    installation.create(cloud_name="a", release="23.09", sysadmin_password="TGk2OW51eCo=")

    text = str(installation.rows(audit))
    assert "strategy.create" in text
    assert "TGk2OW51eCo" not in text
    assert "23.09" not in text


def test_who_asked_for_a_strategy(installation: Installation) -> None:
    """A strategy remembers its creator."""
    installation.add_site("a")
    sealed = installation.sealer.seal("pw", bound_to="n/1")
    data = {"type": "prestage"}
    installation.execute(
        Command(type=CommandType.STRATEGY_CREATE, id="n/1", data=data, sealed_password=sealed, requested_by="night")
    )

    assert ["night"] == [row["requested_by"] for row in installation.rows(strategies)]
