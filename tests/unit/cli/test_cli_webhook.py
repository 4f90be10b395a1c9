"""`prestager webhook`."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from db.schema import audit, webhook_deliveries, webhooks
from service.key_file import load_sealer
from service.settings import Settings

URL = "http://receiver.example/hook"
SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.fixture
def key(data_dir, database) -> None:
    """The installation has been started once: it has a key."""
    load_sealer(Settings(data_dir=data_dir))


def row(database, table=webhooks):
    """Return the only row of a table."""
    with database.read() as connection:
        return connection.execute(select(table)).mappings().one()


@pytest.mark.usefixtures("key")
def test_made_secret(prestager, database, data_dir) -> None:
    """Standard output holds the secret and nothing else; it is the one that deliveries are signed with."""
    ended = prestager("webhook", "add", "ops", URL, "--type", "step.", "--type", "strategy.", "--subcloud", "edge-1")

    made = row(database)
    sealer = load_sealer(Settings(data_dir=data_dir))
    assert ended.out.strip() == sealer.open(made["sealed"], bound_to=made["bound_to"])
    assert "not shown again" in ended.err
    assert (["step.", "strategy."], "edge-1") == (made["types"], made["subcloud"])


@pytest.mark.usefixtures("key")
def test_given_secret(prestager, database, data_dir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret from standard input is not printed; one that is none is told without repeating it."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{SECRET}\n"))
    good = prestager("webhook", "add", "ops", URL, "--secret-stdin")
    monkeypatch.setattr("sys.stdin", io.StringIO("whsec_hidden!\n"))
    bad = prestager("webhook", "rotate", "ops", "--secret-stdin")

    made = row(database)
    assert (0, "", "") == (good.code, good.out, good.err)
    assert SECRET == load_sealer(Settings(data_dir=data_dir)).open(made["sealed"], bound_to=made["bound_to"])
    assert (1, True, False) == (bad.code, "openssl rand -base64 32" in bad.err, "hidden" in bad.err)


def test_no_key_yet(prestager, database) -> None:
    """Without the installation's key no secret is sealed: another key would be one that no coordinator has."""
    ended = prestager("webhook", "add", "ops", URL)

    assert (1, True) == (ended.code, "There is no secret key" in ended.err)


@pytest.mark.usefixtures("key")
def test_changes(prestager, database) -> None:
    """A webhook is listed, shown, turned, disabled, enabled, tried and removed; each change is in the audit."""
    secret = prestager("webhook", "add", "[red]".strip("[]"), URL).out.strip()
    listed = prestager("webhook", "list").out.splitlines()[1]
    shown = prestager("webhook", "show", "red").out
    rotated = prestager("webhook", "rotate", "1").out.strip()
    assert 0 == prestager("webhook", "disable", "red").code
    off = prestager("webhook", "list").out.splitlines()[1]
    refused = prestager("webhook", "ping", "red")
    assert 0 == prestager("webhook", "enable", "red").code
    pinged = prestager("webhook", "ping", "red")
    again = prestager("webhook", "redeliver", "red", "1")
    removed = prestager("webhook", "remove", "red")

    assert (["red", "enabled", "0", URL], ["red", "disabled", "0", URL]) == (listed.split(), off.split())
    assert URL in shown
    assert secret not in shown + listed
    assert rotated.startswith("whsec_")
    assert secret != rotated
    assert (1, "Error: Webhook red is disabled; enable it first.\n") == (refused.code, refused.err)
    assert "Delivery 1 is on its way" in pinged.out
    assert pinged.out == again.out
    assert "Webhook 'red' is removed.\n" == removed.out
    with database.read() as connection:
        entries = connection.execute(select(audit.c.type, audit.c.status, audit.c.caller)).all()
    assert [
        ("webhook.create", 200),
        ("webhook.update", 200),
        ("webhook.update", 200),
        ("webhook.ping", 422),
        ("webhook.update", 200),
        ("webhook.ping", 200),
        ("webhook.redeliver", 200),
        ("webhook.delete", 200),
    ] == [(entry.type, entry.status) for entry in entries]
    assert all(entry.caller.startswith("shell/") for entry in entries)


@pytest.mark.usefixtures("key")
def test_deliveries(prestager, database) -> None:
    """The log tells what came of each delivery, newest first, and only of those asked for."""
    prestager("webhook", "add", "ops", URL)
    for _ in range(2):
        prestager("webhook", "ping", "ops")
    values = {"state": "delivered", "last_status": 204, "duration_s": 0.123, "finished_at": datetime.now(UTC)}
    with database.write() as connection:
        connection.execute(update(webhook_deliveries).where(webhook_deliveries.c.id == 1).values(**values))
        failing = {"error": "The receiver answered 500.", "attempts": 3}
        connection.execute(update(webhook_deliveries).where(webhook_deliveries.c.id == 2).values(**failing))

    every = prestager("webhook", "deliveries", "ops").out.splitlines()[1:]
    delivered = prestager("webhook", "deliveries", "ops", "--state", "delivered").out.splitlines()[1:]

    assert every[0].endswith("pending    3      The receiver answered 500.")
    assert every[1].endswith("delivered  0      204 in 0.12 s")
    assert 1 == len(delivered)


def test_nothing_there(prestager, database) -> None:
    """An empty list says how to make the first; an unknown name is told with what to do."""
    assert "prestager webhook add NAME URL" in prestager("webhook", "list").err
    for command in (("show",), ("deliveries",)):
        ended = prestager("webhook", *command, "ops")
        assert (1, "Error: There is no webhook 'ops'. List them: prestager webhook list\n") == (ended.code, ended.err)
    assert "Error: Webhook not found.\n" == prestager("webhook", "remove", "ops").err


@pytest.mark.usefixtures("key")
def test_faults(prestager, database) -> None:
    """A wrong field is told by its sentence, and nothing is made."""
    ended = prestager("webhook", "add", "ops", "ftp://receiver.example")

    assert 1 == ended.code
    assert ended.err.startswith("Error: Invalid webhook url: ")
    with database.read() as connection:
        assert [] == connection.execute(select(webhooks)).all()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ALLOW_NETWORKS", "127.0.0.1/8", "must be networks such as 127.0.0.0/8"),
        ("ALLOW_NETWORKS", "localhost", "must be networks such as 127.0.0.0/8"),
        ("CA_FILE", "/nowhere.pem", "names /nowhere.pem, from which no certificate can be read"),
        ("GIVE_UP_DAYS", "0", "greater than 0"),
    ],
)
def test_settings(prestager, data_dir, monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str) -> None:
    """Wrong settings are told by `config check`."""
    monkeypatch.setenv(f"PRESTAGER_WEBHOOK_{name}", value)

    ended = prestager("config", "check")

    assert (1, True) == (ended.code, f"PRESTAGER_WEBHOOK_{name}" in ended.err)
    assert complaint in ended.err
