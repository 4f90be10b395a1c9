"""Commands as CloudEvents: what goes out comes back, and whatever is malformed has a reason without a value."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from broker.amqp.cloudevents import from_command, to_command
from broker.amqp.errors import MalformedCommandError
from broker.amqp.topology import MAX_OWN_BODY_BYTES
from messages.commands import Command, CommandType

OURS = "/prestager/1"
CANARY = "Li69nux-canary"
GOOD: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/ci",
    "type": "io.prestager.command.strategy.apply",
    "data": {"request": {"type": "prestage"}},
}


def bent(**changes: Any) -> bytes:
    """Return a good command with changes."""
    return json.dumps({**GOOD, **changes}).encode()


def without(key: str) -> bytes:
    """Return a good command that lacks something."""
    return json.dumps({name: value for name, value in GOOD.items() if name != key}).encode()


SHAPES: dict[str, bytes] = {
    "no JSON": b"\xff\x00 not json",
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "text": b'"' + CANARY.encode() + b'"',
    "half a character": b'{"id": "\\ud800"}',
    "deep nesting": b"[" * 60_000,
    "deep data": bent(data=0).replace(b"0}", b'{"request": {"a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}}}"),
    "too long": bent(subject=CANARY, data={"request": {"a": "x" * MAX_OWN_BODY_BYTES}}),
    "another version": bent(specversion=CANARY),
    "version a number": bent(specversion=1.0),
    **{f"no {key}": without(key) for key in ("specversion", "id", "source", "type")},
    "id empty": bent(id=""),
    "id a number": bent(id=1),
    "id too long": bent(id=CANARY * 20),
    "source empty": bent(source=""),
    "source a list": bent(source=[CANARY]),
    "unknown type": bent(type=f"io.prestager.command.{CANARY}"),
    "type of somebody else": bent(type="com.example.strategy.apply"),
    "type without our prefix": bent(type="strategy.apply"),
    "type null": bent(type=None),
    "time no time": bent(time=CANARY),
    **{f"NUL in {key}": bent(**{key: f"{CANARY}\0"}) for key in ("id", "source", "subject")},
    **{f"NUL in {key}": bent(data={key: f"{CANARY}\0"}) for key in ("sealed_password", "requested_by", "origin")},
    "NUL in a request": bent(data={"request": {"a": [f"{CANARY}\0"]}}),
    "NUL in a key of a request": bent(data={"request": {f"{CANARY}\0": 1}}),
    "no number in a request": bent(data={"request": {"a": float("nan")}}),
    "a deeper request than by HTTP": bent(data=0).replace(
        b"0}", b'{"request": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}}"
    ),
    "subject too long": bent(subject=CANARY * 30),
    "data a text": bent(data=CANARY),
    "data null": bent(data=None),
    "data with a plain password": bent(data={"request": {}, "sysadmin_password": CANARY}),
    "request a list": bent(data={"request": [CANARY]}),
    "sealed password a number": bent(data={"sealed_password": 7}),
    "unknown password fault": bent(data={"password_fault": CANARY}),
    "caller too long": bent(data={"requested_by": CANARY * 30}),
}


@pytest.mark.parametrize("kind", CommandType)
@pytest.mark.parametrize("subject", [None, "edge/ä \u2028"])
def test_round_trip(kind: CommandType, subject: str | None) -> None:
    """A command of our API comes back as it was, but for the moment that it was made."""
    sent = Command(
        id="caller/key with \u00e4",
        type=kind,
        subject=subject,
        data={"a": [1, None, {"b": "\u2028"}], "n": 1.5},
        sealed_password="c2VhbGVk",
        requested_by="caller",
        created_at=datetime(2022, 3, 3, tzinfo=UTC),
    )

    back = to_command(from_command(sent, OURS), OURS, is_ours=True)

    assert sent == back.model_copy(update={"created_at": sent.created_at})
    assert sent.digest() == back.digest()


def test_the_fault_of_a_password_comes_back() -> None:
    """Why there is no password travels along."""
    sent = Command(type=CommandType.STRATEGY_CREATE, password_fault="undecodable")

    assert "undecodable" == to_command(from_command(sent, OURS), OURS, is_ours=True).password_fault


@pytest.mark.parametrize("source", [OURS, "/ci"])
@pytest.mark.parametrize("said", [True, None])
def test_only_our_api_vouches_for_administrators(source: str, said: bool | None) -> None:
    """What our API says of its caller comes back; a publisher who says so of himself is not believed."""
    body = bent(source=source, data={"by_administrator": said})
    sent = Command(type=CommandType.SUBCLOUD_UPDATE, by_administrator=said)

    assert (said if source == OURS else None) is to_command(body, OURS, is_ours=True).by_administrator
    assert said is to_command(from_command(sent, OURS), OURS, is_ours=True).by_administrator


@pytest.mark.parametrize("shape", SHAPES)
def test_malformed(shape: str) -> None:
    """Each shape is refused with a reason of at most a screen, which repeats no value."""
    with pytest.raises(MalformedCommandError) as refusal:
        to_command(SHAPES[shape], OURS, is_ours=True)

    assert str(refusal.value)
    assert CANARY not in str(refusal.value)


def test_what_cannot_be_stored_is_named() -> None:
    """A sender is told where the value is that no database keeps, so that nobody sends it again and again."""
    with pytest.raises(MalformedCommandError, match=r"request: a value cannot be stored"):
        to_command(bent(data={"request": {"a": "\0"}}), OURS, is_ours=False)


def test_sources_never_meet() -> None:
    """The same id from two sources is two commands, and nobody passes for our API or for its callers."""
    ids = {
        to_command(bent(source=source, id=name), OURS, is_ours=True).id
        for source in ("/a", "/b", "/a/b")
        for name in ("1", "b/1")
    }
    foreign = to_command(bent(source="/ci", data={"requested_by": "admin"}), OURS, is_ours=True)

    assert 6 == len(ids)
    assert "/ci" == foreign.requested_by
    assert "admin" == to_command(bent(source=OURS, data={"requested_by": "admin"}), OURS, is_ours=True).requested_by
    with pytest.raises(MalformedCommandError, match="own API"):
        to_command(bent(source=OURS), OURS, is_ours=False)


def test_users_never_meet() -> None:
    """The same source and id of two users, whatever they are called, are two commands of bounded, storable ids."""
    names = ("", "a", "a/b", "a%2Fb", "a:b", "ü" * 100, "amqp:")
    places = [(user, source, name) for user in names for source in ("b", "a/b", "s" * 200) for name in ("c", "b/c")]
    ids = [to_command(bent(source=source, id=name), OURS, is_ours=False, user=user).id for user, source, name in places]

    assert len(places) == len(set(ids))
    assert all(len(one) <= 255 and one.startswith("amqp:") for one in ids)
    # No caller's quoted name holds a colon, and a hashed id of our API holds none either.
    assert not any(one.partition("/")[0] == quote(user, safe="") for one, (user, _, _) in zip(ids, places, strict=True))


def test_extensions_are_let_through() -> None:
    """Attributes that CloudEvents allows beside ours do no harm."""
    assert (
        "strategy.apply"
        == to_command(bent(traceparent="00-1", datacontenttype="application/json"), OURS, is_ours=True).type
    )


@pytest.mark.parametrize("seed", range(5))
def test_mutations(seed: int) -> None:
    """Whatever bytes of a command are changed, it is a command or it is refused; nothing else is raised."""
    random = Random(seed)
    for _ in range(400):
        body = bytearray(bent(subject="edge", time="2022-03-03T10:00:00Z"))
        for _ in range(random.randint(1, 4)):
            body[random.randrange(len(body))] = random.randrange(256)
        with suppress(MalformedCommandError):
            to_command(bytes(body), OURS, is_ours=True)
