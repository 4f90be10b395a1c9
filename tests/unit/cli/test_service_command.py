"""The command line of a process of the service."""

from __future__ import annotations

import pytest

from cli import up_command
from cli.command_table import application
from cli.service_command import ServiceWords, read_words
from service.roles import ALL_ROLES, ProcessRole


@pytest.mark.parametrize(
    "line",
    [
        "up",
        "api",
        "coordinator",
        "worker",
        "worker --name rack1-a",
        "worker --slots 4 --queues precheck,packages --name w",
        "worker --name a --name b",
        "worker --slots 007",
    ],
)
def test_plain_words(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that are read without Typer mean what they mean with it."""
    started: list[ServiceWords] = []
    monkeypatch.setattr(
        up_command, "run_service", lambda roles, **given: started.append(ServiceWords(roles=roles, given=given))
    )

    application()(line.split(), prog_name="prestager", standalone_mode=False)

    assert [read_words(line.split())] == started


@pytest.mark.parametrize(
    "line",
    [
        "",
        "workers",
        "up --help",
        "up --name a",
        "up --split --split",
        "api --split",
        "worker a",
        "worker --help",
        "worker --slots",
        "worker --slots four",
        "worker --slots -1",
        "worker --slots=4",
        "worker --name --slots 4",
        "worker --colour red",
    ],
)
def test_other_words(line: str) -> None:
    """Whatever is another command, asks for a help or is not plainly right is left to Typer, which explains it."""
    assert read_words(line.split()) is None


def test_a_split_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """`up --split` has all roles, each in a process of its own; with Typer it means the same."""
    line, started = ["up", "--split"], []
    monkeypatch.setattr("service.role_processes.run_roles", lambda: started.append(line) or 0)

    code = application()(line, prog_name="prestager", standalone_mode=False)

    assert ServiceWords(roles=ALL_ROLES, given={}, is_split=True) == read_words(line)
    assert ([line], 0) == (started, code)


def test_roles() -> None:
    """`up` has all roles, the other three have the one that they are called by."""
    found = {word: read_words([word]) for word in ("up", *ProcessRole)}

    expected = {"up": ALL_ROLES} | {role.value: frozenset({role}) for role in ProcessRole}
    assert expected == {word: words and words.roles for word, words in found.items()}
