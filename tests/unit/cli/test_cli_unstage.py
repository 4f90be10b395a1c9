"""`prestager subcloud unstage` as its user meets it, without a worker."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from db.apply_step_moves import new_run
from db.database import Database
from db.encryption import Sealer
from db.schema import audit, runs, secrets, steps, subclouds
from statemachine.states import StepState
from tests.support.imported_sites import READY, import_sites

KEY = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
Unstage = Callable[..., Any]


@pytest.fixture
def unstage(prestager: Any, database: Database, monkeypatch: pytest.MonkeyPatch) -> Unstage:
    """Give a function that calls the command for the site `a`, with its password on standard input."""
    monkeypatch.setenv("PRESTAGER_SECRET_KEY", KEY)
    import_sites(database, {"a": READY})

    def run(*arguments: str, password: str = "Li69nux*\n") -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(password))
        return prestager("subcloud", "unstage", "a", "--release", "23.09", *arguments)

    return run


def rows(database: Database, table: Any) -> list[Any]:
    """Return the rows of a table."""
    with database.read() as connection:
        return list(connection.execute(select(table)).mappings())


def ends(
    database: Database, monkeypatch: pytest.MonkeyPatch, state: str, details: str = "", removed: Sequence[str] = ()
) -> None:
    """Have a worker end the step while the command waits."""

    def end(_seconds: float) -> None:
        with database.write() as connection:
            (step_id,) = connection.execute(select(steps.c.id)).scalars()
            values = {**new_run(StepState.UNSTAGING, 1, step_id=step_id), "facts": {"removed_releases": list(removed)}}
            connection.execute(
                insert(runs).values(
                    {
                        **values,
                        "dispatched_at": 0.0,
                        "cancel_requested": False,
                        "consumed": False,
                        "details": "",
                        "outcome": "succeeded",
                        "state": "finished",
                    }
                )
            )
            connection.execute(update(steps).values(state=state, details=details, finished_at=datetime.now(UTC)))

    monkeypatch.setattr("cli.subcloud_commands.sleep", end)


def test_a_removal_is_handed_over(unstage: Unstage, database: Database) -> None:
    """The step waits for a worker, its password is sealed, and the audit says who asked."""
    ended = unstage("--no-wait")

    (step,), (secret,) = rows(database, steps), rows(database, secrets)
    assert (0, "The removal of 23.09 from a is under way.\n") == (ended.code, ended.out)
    assert ("unstage", "23.09", "initial", None) == tuple(
        step[key] for key in ("type", "release", "state", "strategy_id")
    )
    assert "Li69nux*" == Sealer(b"k" * 32).open(secret["sealed"], bound_to=secret["bound_to"])
    assert [("subcloud.unstage", "a", 200)] == [
        (row["type"], row["subject"], row["status"]) for row in rows(database, audit)
    ]
    assert "Li69nux" not in str(rows(database, audit)) + ended.out + ended.err


def test_the_end_is_waited_for(unstage: Unstage, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --no-wait the command ends with the removal."""
    ends(database, monkeypatch, "complete", removed=["23.09"])

    ended = unstage()

    assert (0, True) == (ended.code, "23.09 is not staged on a any more.\n" in ended.out)


def test_a_removal_that_found_nothing_is_said(
    unstage: Unstage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site on which our playbooks have nothing of the release is no success that hides what others put there."""
    ends(database, monkeypatch, "complete")

    ended = unstage()

    nothing = "Nothing was removed: Prestager's playbooks have nothing of 23.09 on a.\n"
    assert (0, True, False) == (ended.code, nothing in ended.out, "any more" in ended.out)


def test_a_failure_is_said(unstage: Unstage, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that failed ends the command with the sentence of its step."""
    ends(database, monkeypatch, "failed", "unstaging: no space left")

    ended = unstage()

    assert (1, True) == (ended.code, "unstaging: no space left" in ended.err)


def test_what_is_refused_is_said(unstage: Unstage, database: Database) -> None:
    """A refusal and a missing password end the command with a sentence, and start nothing."""
    with database.write() as connection:
        connection.execute(update(subclouds).values(software_version="23.09"))

    running, empty = unstage(), unstage(password="")

    assert (1, 1) == (running.code, empty.code)
    assert "Unstage failed 'a': The subcloud runs release 23.09, which is never removed." in running.err
    assert "No password was given" in empty.err
    assert [] == rows(database, steps)


def test_a_missing_key_is_said(
    unstage: Unstage, database: Database, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    """Without the installation's key nothing is started, and the sentence names where it is looked for."""
    monkeypatch.delenv("PRESTAGER_SECRET_KEY")
    (data_dir / "secret.key").unlink(missing_ok=True)

    ended = unstage()

    assert (1, True) == (ended.code, "There is no secret key at" in ended.err)
    assert [] == rows(database, steps)
