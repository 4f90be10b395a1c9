"""A client that a tool makes of the document can be used: what the document says is enough to work with the API."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.journal_playbooks import write_playbooks
from tests.support.service_process import ServiceProcess
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
PROGRAMS = ROOT / ".venv-client/bin"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """Give a running service with one local site and playbooks that are done at once."""
    write_playbooks(tmp_path / "playbooks", seconds=0)
    (tmp_path / "journal").mkdir()
    service = ServiceProcess.of_local_sites(tmp_path, {"site0": {"journal_dir": str(tmp_path / "journal")}})
    service.start()
    yield service
    service.end()


def generate(url: str, directory: Path) -> None:
    """Generate the package `prestager_client` from the document that is served; a warning leaves something out."""
    document, settings = directory / "openapi.json", directory / "generator.yml"
    with urlopen(f"{url}/openapi.json") as answer:
        document.write_bytes(answer.read())
    settings.write_text("post_hooks: []\n")
    done = subprocess.run(
        [
            *(PROGRAMS / "openapi-python-client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--path", document, "--config", settings, "--output-path", directory / "prestager_client"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_strategy_and_log(service: ServiceProcess, tmp_path: Path) -> None:
    """A generated client makes and applies a strategy, understands a refusal, and reads the log of a step."""
    url = f"http://127.0.0.1:{service.port}"
    generate(url, tmp_path)

    done = subprocess.run(
        [PROGRAMS / "python", ROOT / "tests/support/generated_client.py", url, service.token, str(PATIENCE_S)],
        env={"PYTHONPATH": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert done.returncode == 0, done.stderr + service.tail()
    seen = json.loads(done.stdout)
    log = seen.pop("log")
    assert seen.pop("refused")[:2] == [422, "Unprocessable Entity"]
    assert seen == {
        "states": ["initial", "applying", "complete"],
        "steps": [["site0", "complete"]],
        "no log": 404,
        "audit": ["strategy.apply"],
    }
    assert "TASK [Work on the site]" in log
