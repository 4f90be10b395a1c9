"""Messages with commands: their sizes, and types that others may not send."""

from __future__ import annotations

import pytest

from broker.amqp.cloudevents import from_command, to_command
from broker.amqp.errors import MalformedCommandError
from messages.commands import Command, CommandType

OURS = "/prestager/api"


def of_size(size: int) -> bytes:
    """Return the message of a command of our API whose request has a text of so many characters."""
    return from_command(Command(type=CommandType.STRATEGY_CREATE, data={"selector": "x" * size}), OURS)


def test_our_own_messages_may_have_a_megabyte() -> None:
    """A command of our API may be as long as a request over HTTP."""
    assert 1_048_576 == len(to_command(of_size(1_048_576), OURS, is_ours=True).data["selector"])
    with pytest.raises(MalformedCommandError, match="the message is longer than 1114112 bytes"):
        to_command(of_size(1_114_112), OURS, is_ours=True)


def test_messages_of_others_are_shorter() -> None:
    """Another publisher's command has 64 KiB at most, whatever source it claims."""
    with pytest.raises(MalformedCommandError, match="the message is longer than 65536 bytes"):
        to_command(of_size(65_536), OURS, is_ours=False)


@pytest.mark.parametrize("kind", [CommandType.STRATEGY_APPROVE, CommandType.STRATEGY_DENY])
def test_commands_over_http_alone(kind: CommandType) -> None:
    """An approval or denial of another publisher is turned away, for its caller is not known; ours is taken."""
    ours, other = (from_command(Command(type=kind, data={"stage": "canary"}), source) for source in (OURS, "/ci"))

    assert kind == to_command(ours, OURS, is_ours=True).type
    with pytest.raises(MalformedCommandError, match=f"{kind} is a command over HTTP alone"):
        to_command(other, OURS, is_ours=False, user="ci")
