"""`prestager webhook` over the API: made, tried, changed and removed from an operator's shell."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest

from tests.support.operator_shell import OperatorShell, ShellCommand
from tests.support.service_process import ServiceProcess
from tests.support.verifying_receiver import verifying
from tests.support.waiting import wait_for

URL = "http://receiver.example/hook"
SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.fixture
def webhook(shell: OperatorShell) -> Iterator[str]:
    """A webhook `ops`, whose secret is `SECRET`, that wants nothing that happens here; it is removed at the end."""
    made = shell.run("webhook", "add", "ops", URL, "--type", "nothing.", "--secret-stdin", stdin=f"{SECRET}\n")
    assert (0, "") == (made.code, made.out), made.err
    yield "ops"
    shell.run("webhook", "remove", "ops", "--yes")


def audited(service: ServiceProcess) -> list[tuple[str, str]]:
    """Return types and callers of the commands about webhooks, the newest first."""
    status, found = service.get("/v1.0/audit?limit=20")
    assert status == 200
    return [(one["type"], one["caller"]) for one in found["audit"] if one["type"].startswith("webhook.")]


def test_a_receiver_gets_what_is_signed(shell: OperatorShell) -> None:
    """The secret that `add` prints alone on standard output is the one that deliveries are signed with."""
    made = shell.run("webhook", "add", "real", URL, "--type", "nothing.", "--type", "never.", "--subcloud", "edge-1")
    secret = made.out.strip()
    assert (0, f"{secret}\n") == (made.code, made.out), made.err
    assert secret.startswith("whsec_")
    assert "not shown again" in made.err
    try:
        shown = shell.run("webhook", "show", "real", "-o", "json")
        assert (["nothing.", "never."], "edge-1") == (shown.json["types"], shown.json["subcloud"])
        assert secret not in shown.out
    finally:
        assert shell.run("webhook", "remove", "real", "--yes").code == 0
    rotated = ""
    with verifying(SECRET) as receiver:
        assert shell.run("webhook", "add", "real", receiver.url, "--secret-stdin", stdin=SECRET).out == ""
        try:
            pinged = shell.run("webhook", "ping", "real", "-o", "json")
            number = str(pinged.json["id"])
            got = receiver.next()
            wait_for(lambda: shell.run("webhook", "deliveries", "real", "--state", "delivered", "-o", "name").out != "")
            log = shell.run("webhook", "deliveries", "real")
            rotated = shell.run("webhook", "rotate", "real").out.strip()
        finally:
            shell.run("webhook", "remove", "real", "--yes")

    assert f"Delivery {number} is on its way" in pinged.err
    assert "webhook.ping" in got["type"]
    assert " in " in log.out.splitlines()[1]
    assert rotated.startswith("whsec_")


def test_changes(shell: OperatorShell, service: ServiceProcess, webhook: str) -> None:
    """A webhook is listed, shown, disabled, tried, enabled and removed by name or id; the audit knows who did it."""
    listed = shell.run("webhook", "list").out.splitlines()[1]
    number = str(shell.run("webhook", "show", webhook, "-o", "json").json["id"])
    disabled = shell.run("webhook", "disable", number)
    off = shell.run("webhook", "list", "-o", "json").json
    refused = shell.run("webhook", "ping", webhook)
    enabled = shell.run("webhook", "enable", webhook, "-o", "json")
    pinged = shell.run("webhook", "ping", webhook, "-o", "json")
    again = shell.run("webhook", "redeliver", webhook, str(pinged.json["id"]), "-o", "json")
    unasked = shell.run("webhook", "remove", webhook)
    removed = shell.run("webhook", "remove", webhook, "--yes")

    assert ["ops", "enabled", "0", URL] == listed.split()
    assert (0, "Webhook ops is disabled.\n") == (disabled.code, disabled.err)
    assert [("ops", "disabled")] == [(one["name"], one["state"]) for one in off]
    assert (1, "Error: Webhook ops is disabled; enable it first.\n") == (refused.code, refused.err)
    assert (0, True) == (enabled.code, enabled.json["enabled"])
    assert pinged.json["id"] == again.json["id"]
    assert (2, True) == (unasked.code, "Give --yes" in unasked.err)
    assert (0, "Webhook ops is removed.\n") == (removed.code, removed.err)
    assert [
        *("webhook.delete", "webhook.redeliver", "webhook.ping"),
        *("webhook.update", "webhook.ping", "webhook.update", "webhook.create"),
    ] == [kind for kind, _ in audited(service)][:7]
    assert {"test"} == {caller for _, caller in audited(service)}


def test_every_form_of_output(shell: OperatorShell, webhook: str) -> None:
    """A list, a webhook and its log are printed in every form; a secret that was made is in each of its own command."""
    lists = {form: shell.run("webhook", "list", "-o", form).out for form in ("json", "jsonl", "csv", "name")}
    # After the lists: a try that fails meanwhile changes what they show.
    shell.run("webhook", "ping", webhook)
    log = shell.run("webhook", "deliveries", webhook, "-o", "csv").out

    assert [json.loads(lists["jsonl"])] == json.loads(lists["json"])
    assert ["ops"] == [row["name"] for row in csv.DictReader(io.StringIO(lists["csv"]))]
    assert "ops\n" == lists["name"]
    assert ["ping"] == [row["cause"] for row in csv.DictReader(io.StringIO(log))]
    for form in ("table", "wide", "json", "jsonl", "csv", "name"):
        assert 1 == shell.run("webhook", "rotate", webhook, "-o", form).out.count("whsec_"), form


def test_what_is_wrong(shell: OperatorShell, webhook: str) -> None:
    """A wrong field, a wrong secret, an unknown name and a name that is taken end with a sentence, no secret in it."""
    wrong = shell.run("webhook", "add", "other", "ftp://receiver.example")
    hidden = shell.run("webhook", "rotate", webhook, "--secret-stdin", stdin="whsec_hidden!\n")
    taken = shell.run("webhook", "add", webhook, URL)

    assert (1, True) == (wrong.code, wrong.err.startswith("Error: Invalid webhook url: "))
    assert (2, True, False) == (hidden.code, "openssl rand -base64 32" in hidden.err, "hidden" in hidden.err)
    assert (1, "", True) == (taken.code, taken.out, "already exists" in taken.err)
    for command in (("show",), ("deliveries",), ("remove", "--yes"), ("ping",), ("rotate",), ("enable",)):
        ended = shell.run("webhook", *command, "nobody")
        unknown = "Error: There is no webhook 'nobody'. List them: prestager webhook list\n"
        assert (1, "", unknown) == (ended.code, ended.out, ended.err)
    assert "Error: Delivery not found.\n" == shell.run("webhook", "redeliver", webhook, "99999").err


def test_nothing_to_list(shell: OperatorShell) -> None:
    """An empty list is an empty list for programs, and a sentence for people."""
    for_programs, for_people = shell.run("webhook", "list", "-o", "json"), shell.run("webhook", "list")

    assert (0, []) == (for_programs.code, for_programs.json)
    assert (0, "", True) == (for_people.code, for_people.out, "prestager webhook add NAME URL" in for_people.err)


def completed(shell: OperatorShell, *words: str) -> ShellCommand:
    """Return what the script of a shell is told."""
    return shell.run("__complete", *words)


def test_names_are_completed(shell: OperatorShell, webhook: str) -> None:
    """The name of a webhook is completed from the API."""
    wait_for(lambda: completed(shell, "webhook", "ping", webhook[:1]).out == f"words\n{webhook}\n")


def test_no_service(shell: OperatorShell) -> None:
    """Where no API answers, a webhook command ends with 6 and prints no secret."""
    shell.environment["PRESTAGER_CONNECT_S"] = "0"
    ended = shell.run("webhook", "add", "ops", URL, "--server", "http://127.0.0.1:9")

    assert (6, "") == (ended.code, ended.out)
    assert "whsec_" not in ended.err
