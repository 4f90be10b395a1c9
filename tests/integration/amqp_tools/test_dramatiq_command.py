"""Dramatiq's own command line runs a coordinator and worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.database import Database
from db.heartbeats import all_processes
from tests.integration.amqp_tools.amqp_installation import ROOT, AmqpInstallation
from tests.support.imported_sites import READY, import_sites_at
from tests.support.journal_playbooks import journal_lines, write_playbooks
from tests.support.waiting import PATIENCE_S, wait_for

DRAMATIQ = [sys.executable, "-m", "dramatiq", "actors.dramatiq_entry", "-p", "1", "-t", "8"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Give the place of the process's log."""
    return tmp_path / "dramatiq.log"


@pytest.fixture
def process(installation: AmqpInstallation, tmp_path: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give the command, ready, with playbooks that write a journal."""
    write_playbooks(tmp_path / "playbooks", seconds=0.1)
    (tmp_path / "journal").mkdir()
    environment = installation.environment | {
        "PRESTAGER_PLAYBOOKS_DIR": str(tmp_path / "playbooks"),
        "HOME": str(tmp_path),
    }
    with log.open("wb") as sink:
        process = subprocess.Popen(DRAMATIQ, env=environment, stdout=sink, stderr=sink, cwd=ROOT)
    wait_for(lambda: process.poll() is not None or "service.ready" in log.read_text(), story=log.read_text)
    yield process
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def test_it_takes_a_strategy_to_its_end(
    installation: AmqpInstallation, process: subprocess.Popen[bytes], tmp_path: Path, log: Path
) -> None:
    """Commands are answered, playbooks run, the strategy completes, and the process ends in order when asked.

    Meanwhile it reports itself like any other process, and afterwards no longer.
    """
    variables = {**READY, "ansible_connection": "local", "journal_dir": str(tmp_path / "journal")}
    import_sites_at(installation.settings.sqlalchemy_url, {"site0": variables})
    sealed = subprocess.run(
        [
            sys.executable,
            "-m",
            "cli.main",
            "seal",
            "--source",
            "/test",
            "--id",
            "create",
            "--user",
            installation.host.server.user,
        ],
        env=installation.environment,
        input="pw",
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    ).stdout.strip()

    url = installation.host.url()
    created = installation.send(url, "/test", "create", "strategy.create", '{"type": "prestage"}', sealed)
    applied = installation.send(url, "/test", "apply", "strategy.apply", '{"type": "prestage"}')
    assert [200, 200] == [created[1]["status"], applied[1]["status"]], (created, applied)
    wait_for(lambda: installation.strategy_state() != "applying", story=log.read_text)
    database = Database(installation.settings.sqlalchemy_url)
    with database.read() as connection:
        reported = [(row["role"], bool(row["alive"])) for row in all_processes(connection)]
    process.terminate()

    assert "complete" == installation.strategy_state(), log.read_text()
    assert any(line.startswith("end prestage_sw") for line in journal_lines(tmp_path / "journal"))
    assert 0 == process.wait(PATIENCE_S), log.read_text()
    assert "service.stopped" in log.read_text()
    with database.read() as connection:
        left = all_processes(connection)
    database.close()
    assert ([("coordinator+worker", True)], []) == (reported, left)


def test_wrong_settings_are_told_without_values(installation: AmqpInstallation) -> None:
    """The command ends at once and names what is wrong, but never the value of a setting."""
    environment = installation.environment | {"PRESTAGER_BROKER_URL": "http://user:hidden@broker/"}

    done = subprocess.run(
        DRAMATIQ, env=environment, capture_output=True, text=True, cwd=ROOT, check=False, timeout=PATIENCE_S
    )

    assert 0 != done.returncode
    assert "PRESTAGER_BROKER_URL is not a broker URL" in done.stdout + done.stderr
    assert "hidden" not in done.stdout + done.stderr
