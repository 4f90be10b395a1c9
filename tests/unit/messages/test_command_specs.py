"""The table of commands is complete, and all that is known of a command comes from it."""

from __future__ import annotations

import pytest

from actors.coordinator import coordinator
from apidocs.asyncapi import assembly
from messages.command_specs import COMMAND_SPECS, CommandSpec
from messages.commands import STRATEGY_ACTIONS, CommandType
from messages.requests.strategy import VerbRequest
from messages.schemas import Strategy


def test_each_type_has_a_spec_and_a_handler() -> None:
    """Each type of command has one row with its sentences, and the handler that the row names."""
    assert list(COMMAND_SPECS) == list(CommandType)
    for kind, spec in COMMAND_SPECS.items():
        assert spec.handler == coordinator._HANDLERS[kind].__name__
        assert spec.on_failure.startswith("Unable to "), kind
        assert spec.summary.endswith("."), kind


def test_no_two_handlers_have_one_name() -> None:
    """A handler's name leads to one function."""
    # A module may import the handler of another.
    found = {
        getattr(module, spec.handler)
        for spec in COMMAND_SPECS.values()
        for module in coordinator._MODULES
        if hasattr(module, spec.handler)
    }

    assert len(found) == len(COMMAND_SPECS)


def test_a_subject_is_of_the_kind_that_the_type_begins_with() -> None:
    """A command about one subcloud, group or webhook has a type of that name."""
    for kind, spec in COMMAND_SPECS.items():
        assert spec.subject in {None, kind.split(".")[0]}


def test_actions_of_the_strategy_are_commands_of_it() -> None:
    """An action becomes the command of its name."""
    assert {action: f"strategy.{action}" for action in STRATEGY_ACTIONS} == dict(STRATEGY_ACTIONS)


def test_a_row_makes_a_command_documented(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a row says is in the AsyncAPI document, with the payloads of the command and of its answer."""
    spec = CommandSpec(
        handler="hold_strategy",
        request=VerbRequest,
        answer=Strategy,
        on_failure="Unable to hold strategy",
        summary="Hold the strategy.",
    )
    monkeypatch.setattr(assembly, "PUBLISHED_SPECS", {"strategy.hold": spec})

    document = assembly.build_document()

    assert "Hold the strategy." in str(document["operations"])
    assert {"command.strategy.hold", "answer.strategy.hold"} <= set(document["components"]["messages"])
