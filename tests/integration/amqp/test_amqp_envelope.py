"""Messages for actors: whatever is malformed becomes a dead letter with its reason, and never holds up the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from actors.worker.worker import StepWorker
from broker.amqp.dead_letters import REASON
from broker.amqp.dramatiq_broker import read_envelope
from broker.amqp.errors import BadEnvelopeError
from messages.queues import COORDINATOR, PRECHECKS
from tests.support.installation import StartedInstallation
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

CANARY = "Li69nux-canary"
GOOD: dict[str, Any] = {
    "queue_name": PRECHECKS,
    "actor_name": "inspect_site",
    "args": [424242],
    "kwargs": {},
    "options": {},
    "message_id": "1",
    "message_timestamp": 1,
}


def bent(**changes: Any) -> bytes:
    """Return a good message with changes."""
    return json.dumps({**GOOD, **changes}).encode()


# The shapes that were tried on Dramatiq itself (reliability.md 1.4), and some that differ a little.
SHAPES: dict[str, bytes] = {
    "no JSON": b"\xff\x00 not json",
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "unknown field": bent(secret=CANARY),
    "missing field": json.dumps({key: value for key, value in GOOD.items() if key != "args"}).encode(),
    "deep nesting": b"[" * 100_000,
    "deep nesting inside": bent(args=[]).replace(b"[]", b"[" * 5000 + b"]" * 5000),
    "long number": bent(args=[0]).replace(b"[0]", b"[" + b"9" * 5000 + b"]"),
    "number too large": bent(args=[2**63]),
    "negative number": bent(args=[-1]),
    "text for a number": bent(args=["7"]),
    "too many arguments": bent(args=[1, 2]),
    "unknown actor": bent(actor_name=CANARY),
    "actor of the coordinator": bent(actor_name="execute_command"),
    "actor_name a list": bent(actor_name=["inspect_site"]),
    "options null": bent(options=None),
    "options a list": bent(options=[]),
    "queue_name wrong": bent(queue_name=COORDINATOR),
    "queue_name null": bent(queue_name=None),
    "eta infinite": bent(options={"eta": float("inf")}),
    "eta huge": bent(options={"eta": 10**300}),
    "retries a text": bent(options={"retries": CANARY}),
    "time_limit a text": bent(options={"time_limit": CANARY}),
    "message_timestamp a text": bent(message_timestamp=CANARY),
    "pipe_target": bent(options={"pipe_target": GOOD}),
    "keyword arguments": bent(kwargs={"password": CANARY}),
    "half a character": b'{"queue_name": "\\ud800"}',
    "a float for a number": bent(args=[1.5]),
    "true for a number": bent(args=[True]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_malformed_is_refused_with_a_reason(shape: str) -> None:
    """Each shape is refused; the reason says where the fault is and repeats no value."""
    with pytest.raises(BadEnvelopeError) as refusal:
        read_envelope(SHAPES[shape], PRECHECKS, {"inspect_site"})

    assert str(refusal.value)
    assert CANARY not in str(refusal.value)


def test_what_we_send_ourselves_passes() -> None:
    """A good message comes through as it is."""
    message = read_envelope(bent(), PRECHECKS, {"inspect_site"})

    assert ("inspect_site", (424242,), {}, {}) == (message.actor_name, message.args, message.kwargs, message.options)


def test_no_shape_holds_up_the_next_message(
    host: VirtualHost, start: Callable[..., StartedInstallation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every malformed message is kept as a dead letter with its reason, in order, and the good one behind is served."""
    served: list[int] = []
    monkeypatch.setattr(StepWorker, "inspect", lambda _self, run_id: served.append(run_id))
    start()

    host.put(PRECHECKS, *SHAPES.values(), bent())

    wait_for(lambda: served)
    letters = host.dead_letters(PRECHECKS, len(SHAPES))
    assert [424242] == served
    assert [body[:65_536] for body in SHAPES.values()] == [body for _, body in letters]
    reasons = [properties.headers[REASON] for properties, _ in letters]
    assert all(reasons)
    assert CANARY not in str(reasons)
    assert 0 == host.count(PRECHECKS)


def test_strange_properties_harm_nobody(
    host: VirtualHost, start: Callable[..., StartedInstallation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the properties of a malformed message are, it is kept and the next one is served."""
    served: list[int] = []
    monkeypatch.setattr(StepWorker, "inspect", lambda _self, run_id: served.append(run_id))
    start()

    long = "x" * 255
    host.put(PRECHECKS, b"a", message_id=long, type=long, content_type=long, correlation_id=long)
    host.put(PRECHECKS, b"b", headers={"x-death": "nonsense", "n": 2**40, "deep": {"a": [{"b": None}]}})
    host.put(PRECHECKS, b"c", expiration="60000", priority=255, timestamp=2**40, content_encoding="gzip")
    host.put(PRECHECKS, bent())

    wait_for(lambda: served)
    assert [b"a", b"b", b"c"] == [body for _, body in host.dead_letters(PRECHECKS, 3)]
