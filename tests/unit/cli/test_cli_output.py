"""`-o` of commands that read the installation of this machine."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from db.tokens import Role, TokenStore
from service.key_file import load_sealer
from service.settings import Settings

SECRET = "not-to-be-shown"
LISTS = {
    ("token", "list"): "name",
    ("key", "list"): "id",
    ("config", "show"): "variable",
    ("doctor",): "subject",
}


@pytest.fixture
def installation(data_dir, database, prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token, a key and a setting that is secret."""
    load_sealer(Settings(data_dir=data_dir))
    TokenStore(database).create_token("alice", Role.ADMIN)
    monkeypatch.setenv("PRESTAGER_BROKER_URL", f"amqp://prestager:{SECRET}@127.0.0.1:9/")


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("command", LISTS)
def test_every_form_has_the_same_objects(prestager, command: tuple[str, ...]) -> None:
    """JSON, JSON lines, CSV and names list the same objects, one a line of the table; none tells a secret."""
    printed = {form: prestager(*command, "-o", form).out for form in ("table", "wide", "json", "jsonl", "csv", "name")}
    # What is free changes meanwhile.
    shown = {form: re.sub(r"[\d.]+ ([MG]iB)", r"\1", text) for form, text in printed.items()}
    key = LISTS[command]

    found: list[dict[str, Any]] = json.loads(shown["json"])
    names = [one[key] for one in found]
    assert names
    assert [json.loads(line) for line in shown["jsonl"].splitlines()] == found
    assert [row[key] for row in csv.DictReader(io.StringIO(shown["csv"]))] == names
    assert shown["name"].split("\n") == [*names, ""]
    assert len(shown["table"].splitlines()) == len(names) + 1
    assert SECRET not in "".join(shown.values())


def test_nothing_to_list(prestager) -> None:
    """An empty list is an empty list for programs, and a sentence for people."""
    prestager("db", "upgrade")
    for_programs, for_people = prestager("token", "list", "-o", "json"), prestager("token", "list")

    assert (0, []) == (for_programs.code, json.loads(for_programs.out))
    assert (0, "", True) == (for_people.code, for_people.out, "There is no" in for_people.err)
