"""`prestager subcloud labels` and `login-link`, and options of `strategy create` and `preview` that choose sites."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.operator_shell import OperatorShell

PASSWORD = "Li69nux*\n"


def test_labels(shell: OperatorShell) -> None:
    """Labels are set, kept, removed and shown."""
    made = shell.run("subcloud", "labels", "edge-1", "region=eu", "lab=")
    assert (0, "The labels of edge-1 are changed.\n") == (made.code, made.err)

    changed = shell.run("subcloud", "labels", "edge-1", "region=us", "--remove", "lab", "-o", "json")
    shown = shell.run("subcloud", "labels", "edge-1")

    assert {"name": "edge-1", "labels": {"region": "us"}} == changed.json
    assert "region=us" in shown.out
    assert shell.run("subcloud", "labels", "edge-1", "--remove", "region").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("region",), 2, "region is no label: give KEY=VALUE, or KEY= for one without a value."),
        (("region=eu", "--remove", "region"), 2, "region is both set and removed; give one of them."),
        (("Region=eu",), 1, "Invalid labels: 'Region' is no key of a label"),
    ],
)
def test_wrong_labels(shell: OperatorShell, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    """A label that is not one changes nothing, and the sentence has it."""
    refused = shell.run("subcloud", "labels", "edge-1", *arguments)

    assert code == refused.code
    assert sentence in refused.err


def test_a_login_link(shell: OperatorShell) -> None:
    """A link is alone on standard output, each is another one, and none has the token."""
    shown = shell.run("login-link")
    record = shell.run("login-link", "-o", "json")

    assert 0 == shown.code, shown.err
    url, token = shell.environment["PRESTAGER_URL"], Path(shell.environment["PRESTAGER_TOKEN_FILE"]).read_text().strip()
    assert re.fullmatch(re.escape(url) + r"/ui/login#[\w-]{43}\n", shown.out)
    assert "It works once, until " in shown.err
    assert {"url", "expires-at"} == set(record.json)
    assert record.json["url"] not in shown.out
    assert token not in shown.out + shown.err + record.out


def test_a_login_link_without_a_token(shell: OperatorShell, tmp_path: Path) -> None:
    """A wrong token makes no link, and the remedy is said."""
    (tmp_path / "token").write_text("prst_wrong\n")

    refused = shell.run("login-link")

    assert (1, "") == (refused.code, refused.out)
    assert "prestager token create NAME --role ROLE" in refused.err


def test_sites_by_names_labels_and_a_file(shell: OperatorShell, tmp_path: Path) -> None:
    """A preview and the strategy have the sites that file, options and labels leave; the digest binds them."""
    assert shell.run("subcloud", "labels", "edge-2", "region=eu").code == 0
    file = tmp_path / "sites"
    file.write_text("edge-1  # the first\n\nedge-2\nbroken\n")
    options = ("--from-file", str(file), "--exclude", "broken", "--selector", "region=eu", "--skip-ineligible")

    shown = shell.strategy("preview", *options, "-o", "json")
    table = shell.strategy("preview", *options)
    made = shell.strategy("create", *options, "--plan-digest", shown.json["plan-digest"], "-o", "json", stdin=PASSWORD)

    assert (0, ["edge-2"]) == (shown.code, shown.json["stages"][0]["clouds"]), shown.err
    assert shown.json["plan-digest"] in table.out
    assert "edge-2" in table.out.splitlines()[-1]
    assert 0 == made.code, made.err
    assert "edge-2\n" == shell.strategy("steps", "-o", "name").out


def test_a_preview_that_would_be_refused(shell: OperatorShell) -> None:
    """What is against it is on standard error, and the exit code is 1."""
    shown = shell.strategy("preview", "--subcloud", "edge-1", "--subcloud", "nowhere")

    assert 1 == shown.code
    assert "It would be refused: Unable to create strategy" in shown.err
    assert "Subcloud nowhere does not exist" in shown.err


def test_another_plan(shell: OperatorShell) -> None:
    """A digest of another plan creates nothing."""
    digest = shell.strategy("preview", "-o", "json").json["plan-digest"]

    refused = shell.strategy("create", "--exclude", "broken", "--plan-digest", digest, stdin=PASSWORD)

    assert 1 == refused.code
    assert "The plan changed since the preview: it had 3 sites in" in refused.err


def test_an_empty_file(shell: OperatorShell, tmp_path: Path) -> None:
    """A file without names is a usage error: without it all sites would be meant."""
    file = tmp_path / "sites"
    file.write_text("# none\n")

    refused = shell.strategy("preview", "--from-file", str(file))

    assert (2, f"Error: {file} names no site.\n") == (refused.code, refused.err)


def test_who_i_am(shell: OperatorShell) -> None:
    """The command has the name and the role of the token."""
    shown = shell.run("whoami", "-o", "json")

    assert 0 == shown.code, shown.err
    assert {"name", "roles", "project"} == set(shown.json)
    assert all(role in shell.run("whoami").out for role in shown.json["roles"])


def test_filters_of_steps(shell: OperatorShell) -> None:
    """Options of `strategy steps` leave the sites that fit all of them; a wrong one is refused with the reason."""
    assert shell.strategy("create", "--subcloud", "edge-1", "--subcloud", "edge-2", stdin=PASSWORD).code == 0
    try:
        one = shell.strategy("steps", "--state", "initial", "--stage", "1", "--subcloud", "*-2", "-o", "name")
        none = shell.strategy("steps", "--outcome", "failed", "--class", "login", "-o", "name")
        wrong = shell.strategy("steps", "--group", "nowhere")
    finally:
        shell.strategy("delete", "--yes")

    assert (0, "edge-2\n") == (one.code, one.out)
    assert (0, "") == (none.code, none.out)
    assert (1, "Error: There is no group 'nowhere'.") == (wrong.code, wrong.err.strip())
