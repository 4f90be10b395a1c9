"""The AsyncAPI document: complete, and without loose ends. Whether it is as committed is seen with the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import pytest
from jsonschema import Draft202012Validator

from apidocs.asyncapi.assembly import build_document
from broker.amqp.topology import EXCHANGES
from messages.command_specs import PUBLISHED_SPECS
from messages.event_types import EVENT_TYPES, RunResults
from runner.progress import COUNTED


@pytest.fixture(scope="module")
def document() -> Mapping[str, Any]:
    """The document; tests do not change it."""
    return build_document()


def refs(part: Any) -> Iterator[str]:
    """Give every reference in a part of the document."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from refs(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from refs(inner)


def at(document: Mapping[str, Any], ref: str) -> Any:
    """Return what a reference names."""
    part: Any = document
    for name in ref.removeprefix("#/").split("/"):
        part = part[name]
    return part


def test_every_reference_leads_somewhere(document: Mapping[str, Any]) -> None:
    """Nothing is named that is not there."""
    found = set(refs(document))

    assert found
    for ref in found:
        assert at(document, ref), ref


def test_operations_use_messages_of_their_channels(document: Mapping[str, Any]) -> None:
    """The messages of an operation, and of its reply, are those of the channel that it names."""
    for operation in document["operations"].values():
        for part in (operation, *([operation["reply"]] if "reply" in operation else [])):
            channel = part["channel"]["$ref"]
            assert part["messages"]
            for message in part["messages"]:
                assert message["$ref"].startswith(f"{channel}/messages/")


def test_every_command_has_a_message_and_an_answer(document: Mapping[str, Any]) -> None:
    """All commands that publishers may send are described, and no other."""
    kinds = {str(kind) for kind in PUBLISHED_SPECS}

    assert kinds == set(document["channels"]["commands"]["messages"])
    assert kinds == set(document["channels"]["commands"]["parameters"]["type"]["enum"])
    assert kinds == set(document["channels"]["answers"]["messages"])
    assert kinds == {name for name, operation in document["operations"].items() if operation["action"] == "receive"}


def test_every_event_is_told_in_the_same_way_everywhere(document: Mapping[str, Any]) -> None:
    """On RabbitMQ, in the stream and by webhooks; each type is there once."""
    names = [one.name for one in EVENT_TYPES]

    assert len(names) == len(set(names))
    for channel in ("events", "stream", "webhooks"):
        messages = document["channels"][channel]["messages"]
        assert [{"$ref": f"#/components/messages/event.{name}"} for name in names] == [messages[name] for name in names]


def test_the_exchanges_are_those_of_the_topology(document: Mapping[str, Any]) -> None:
    """With the kinds that are declared; the internal one is left out."""
    bound = [
        channel["bindings"]["amqp"]["exchange"] for channel in document["channels"].values() if "bindings" in channel
    ]
    declared = {spec.name: spec.kind for spec in EXCHANGES}

    assert {"prestager.commands", "prestager.events"} == {exchange["name"] for exchange in bound}
    for exchange in bound:
        assert declared[exchange["name"]] == exchange["type"]


def test_every_schema_is_a_schema(document: Mapping[str, Any]) -> None:
    """By JSON Schema 2020-12."""
    messages = document["components"]["messages"].values()
    schemas = [*document["components"]["schemas"].values(), *(message["payload"] for message in messages)]
    for schema in [*schemas, *(message["headers"] for message in messages if "headers" in message)]:
        Draft202012Validator.check_schema(schema)


def test_the_results_of_tasks_are_those_that_are_counted() -> None:
    """What a runner counts is what is promised of it."""
    assert set(COUNTED) == set(get_type_hints(RunResults))


def test_no_place_is_named(document: Mapping[str, Any]) -> None:
    """Where the servers are is left to whoever reads."""
    assert {"{host}:5672", "{host}"} == {server["host"] for server in document["servers"].values()}
