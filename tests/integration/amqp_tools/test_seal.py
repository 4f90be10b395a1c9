"""`prestager seal`: a password for one command of a foreign publisher."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from broker.amqp.cloudevents import to_command
from db.errors import UnsealingError
from messages.commands import Command
from service.key_file import load_sealer
from tests.integration.amqp_tools.amqp_installation import AmqpInstallation, Prestager

SOURCE = "//ci.example.net/night job"


def command(event_id: str, user: str = "") -> Command:
    """Return what the coordinator makes of an event with that id."""
    event = {"specversion": "1.0", "source": SOURCE, "id": event_id, "type": "io.prestager.command.strategy.create"}
    return to_command(json.dumps(event).encode(), "/prestager/own", is_ours=False, user=user)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, installation: AmqpInstallation) -> None:
    """Have a password on standard input, and a key."""
    load_sealer(installation.settings)
    monkeypatch.setattr("sys.stdin", io.StringIO("Li69nux*\n"))


@pytest.mark.usefixtures("typed")
def test_it_opens_for_its_command_only(installation: AmqpInstallation, prestager: Prestager) -> None:
    """What is printed is the password for the command that has the source and the id, and for no other."""
    ended = prestager("seal", "--source", SOURCE, "--id", "one")

    sealer, sealed = load_sealer(installation.settings), ended.out.strip()
    assert (0, "") == (ended.code, ended.err)
    assert "Li69nux*" == sealer.open(sealed, bound_to=command("one").id)
    with pytest.raises(UnsealingError):
        sealer.open(sealed, bound_to=command("two").id)
    assert "Li69nux*" not in ended.out


@pytest.mark.usefixtures("typed")
def test_it_opens_for_its_user_only(installation: AmqpInstallation, prestager: Prestager) -> None:
    """What is sealed for a user opens for a command that RabbitMQ says this user published, and for no other."""
    ended = prestager("seal", "--source", SOURCE, "--id", "one", "--user", "night/job")

    sealer, sealed = load_sealer(installation.settings), ended.out.strip()
    assert "Li69nux*" == sealer.open(sealed, bound_to=command("one", "night/job").id)
    for user in ("", "night", "night%2Fjob"):
        with pytest.raises(UnsealingError):
            sealer.open(sealed, bound_to=command("one", user).id)


@pytest.mark.usefixtures("typed")
def test_a_prompt_shows_nothing(prestager: Prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the password is asked for without echo, and standard input is left alone."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("client.prompts.getpass", lambda _prompt: "Li69nux*")

    ended = prestager("seal", "--source", SOURCE, "--id", "one")

    assert 0 == ended.code
    assert 1 == len(ended.out.splitlines())


@pytest.mark.usefixtures("typed")
def test_no_key_is_made(prestager: Prestager, tmp_path: Path) -> None:
    """Where the installation's key is not, nothing is sealed: a new key would be one that no worker has."""
    ended = prestager("seal", "--source", SOURCE, "--id", "one", DATA_DIR=tmp_path / "other")

    assert 1 == ended.code
    assert "PRESTAGER_SECRET_KEY_FILE" in ended.err
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize(
    ("text", "event_id", "told"),
    [("", "one", "No password was given"), ("a\nb\n", "one", "one line"), ("pw", "x" * 201, "No command can have")],
)
def test_what_cannot_be_sealed(
    prestager: Prestager, monkeypatch: pytest.MonkeyPatch, text: str, event_id: str, told: str
) -> None:
    """An empty password, several lines, and an id that no command can have are refused with the reason."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))

    ended = prestager("seal", "--source", SOURCE, "--id", event_id)

    assert (1, "") == (ended.code, ended.out)
    assert told in ended.err
