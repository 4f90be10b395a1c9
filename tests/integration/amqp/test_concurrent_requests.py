"""Many requests at once under one command id, in one process and over RabbitMQ with several processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from db.schema import commands
from db.schema import subcloud_groups as groups
from messages.commands import Answer, Command, CommandType
from messages.errors import NoAnswerInTimeError
from service.roles import ProcessRole
from tests.support.installation import StartedInstallation
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import PATIENCE_S

# Pairs of requests.
PAIRS = 40
CONFLICT = "This command id was used for another command."


def creation(command_id: str, name: str) -> Command:
    """Return a command that creates a group."""
    data = {"name": name, "description": "d", "update_apply_type": "serial", "max_parallel_subclouds": 2}
    return Command(id=command_id, type=CommandType.GROUP_CREATE, data=data, requested_by="alice")


@pytest.fixture(params=["embedded", "amqp"])
def processes(request: pytest.FixtureRequest, start: Callable[..., StartedInstallation]) -> list[StartedInstallation]:
    """Give the processes that take requests: one with everything in it, or two APIs beside a coordinator."""
    if request.param == "embedded":
        return [start(url=None)]
    coordinator = start(roles=frozenset({ProcessRole.API, ProcessRole.COORDINATOR}))
    return [coordinator, start(roles=frozenset({ProcessRole.API}))]


def ask_at_once(processes: list[StartedInstallation], asked: list[Command]) -> list[Answer]:
    """Send all commands at once, in turn through the processes, and return their answers in the same order."""

    async def ask(installation: StartedInstallation, mine: list[Command]) -> list[Answer]:
        return await asyncio.gather(*(installation.transport.request(command) for command in mine))

    futures = [
        asyncio.run_coroutine_threadsafe(ask(installation, asked[place :: len(processes)]), installation.loop._loop)
        for place, installation in enumerate(processes)
    ]
    answers: list[Any] = [None] * len(asked)
    for place, future in enumerate(futures):
        answers[place :: len(processes)] = future.result(PATIENCE_S)
    return answers


def test_other_content_at_once_is_a_conflict(processes: list[StartedInstallation]) -> None:
    """Of two requests at once under one id with different content one is carried out, and the other gets 409."""
    asked = [creation(f"alice/{pair}", f"g{pair}-{side}") for pair in range(PAIRS) for side in "ab"]
    answers = ask_at_once(processes, asked)

    for first, second in zip(range(0, 2 * PAIRS, 2), range(1, 2 * PAIRS, 2), strict=True):
        assert {200, 409} == {answers[first].status, answers[second].status}
    for command, answer in zip(asked, answers, strict=True):
        if answer.status == 200:
            assert command.data["name"] == answer.body["name"]
        else:
            assert CONFLICT == answer.detail
    assert PAIRS == len(processes[0].rows(commands))


def test_the_same_content_at_once_acts_once(processes: list[StartedInstallation]) -> None:
    """Requests at once under one id with the same content act once, and all get the same answer."""
    answers = ask_at_once(processes, [creation("alice/same", "edge") for _ in range(PAIRS)])

    assert {200} == {answer.status for answer in answers}
    assert 1 == len({answer.body["id"] for answer in answers})
    assert 1 == len(processes[0].rows(groups, name="edge"))


def test_mixed_content_at_once(processes: list[StartedInstallation]) -> None:
    """Among many requests under one id, those with the content of the first get its answer and all others 409."""
    answers = ask_at_once(processes, [creation("alice/mixed", "mno"[place % 3] * 3) for place in range(PAIRS)])
    (made,) = {answer.body["name"] for answer in answers if answer.status == 200}

    for place, answer in enumerate(answers):
        assert (200 if made == "mno"[place % 3] * 3 else 409) == answer.status


def test_other_content_after_no_answer(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """After a request that got no answer in time, other content under its id gets 409 and never the late answer."""
    api = start(roles=frozenset({ProcessRole.API}))
    hasty = api.process.messaging.command_transport(0.2)

    async def give_up() -> None:
        # Expires only if no coordinator takes it: it is given no time to expire in the queue.
        hasty._message = patient  # type: ignore[union-attr,method-assign]
        with pytest.raises(NoAnswerInTimeError):
            await hasty.request(creation("alice/late", "first"))

    patient = api.transport._message  # type: ignore[union-attr]
    api.loop.do(give_up())
    late = asyncio.run_coroutine_threadsafe(hasty_repeat(hasty), api.loop._loop)
    start(roles=frozenset({ProcessRole.COORDINATOR}))

    assert (409, CONFLICT) == (late.result(PATIENCE_S).status, late.result().detail)
    assert 200 == api.execute(creation("alice/late", "first")).status
    api.loop.do(hasty.close())


async def hasty_repeat(transport: Any) -> Answer:
    """Return the answer to other content under the id of before, for which there is time."""
    transport._timeout_s = PATIENCE_S
    answer: Answer = await transport.request(creation("alice/late", "second"))
    return answer
