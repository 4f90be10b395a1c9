"""docs/quickstart.md and the requests of docs/api.md, pasted into one bash, with real sites, service and playbooks."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

REPOSITORY = Path(__file__).parents[3]
LONGEST_S = 900
# Before each block, to tell what it printed.
MARK = "=== block"


def blocks(document: str = "docs/quickstart.md") -> list[str]:
    """Return the fenced blocks of a document, in order."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return re.findall(r"^```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Checkout:
    """A folder that looks like the sources, after `make run`, and a shell in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        (root / ".venv").symlink_to(REPOSITORY / ".venv")
        others = {name: value for name, value in os.environ.items() if not name.startswith("PRESTAGER_")}
        # Other tests listen beside it, and have workers.
        self.given = {"PRESTAGER_LISTEN": f"127.0.0.1:{self.port}", "PRESTAGER_WORKER_NAME": f"quickstart-{self.port}"}
        self.environment = {**others, **self.given}

    def paste(self, pasted: list[str]) -> tuple[int, list[str], str]:
        """Run blocks in one shell that ends with the first command that fails.

        Returns:
            The exit code, what each block printed, and everything that was printed.
        """
        script = "".join(f"echo '{MARK}'\n{self._apart(block)}" for block in pasted)
        script += f"echo '{MARK}'\nenv | grep ^PRESTAGER_ | sort\n"
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        return done.returncode, done.stdout.split(f"{MARK}\n")[1:], done.stdout

    def processes(self) -> list[psutil.Process]:
        """Return what still runs here."""
        return [
            process
            for process in psutil.process_iter(["cwd"])
            if process.info["cwd"] is not None and Path(process.info["cwd"]).is_relative_to(self.root)
        ]

    def _apart(self, block: str) -> str:
        """Give the block addresses and ports that no other test has."""
        moved = block.replace("127.0.0.1:8119", f"127.0.0.1:{self.port}")
        return moved.replace("prestager fleet ", "prestager fleet --free-ports --address 127.77.0.1 ")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """Give a checkout; whatever a failed test leaves running in it is killed."""
    made = Checkout(tmp_path)
    yield made
    for process in made.processes():
        process.kill()


def objects(printed: str) -> list[dict[str, Any]]:
    """Return the answers of the API that are in the text."""
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def states(answer: dict[str, Any]) -> dict[str, str]:
    """Return the state of each site's step."""
    return {step["cloud"]: step["state"] for step in answer["strategy-steps"]}


def test_the_readme_quotes_blocks_that_work() -> None:
    """What README has of commands in the checkout is in the document that is tried, word for word."""
    quoted = [
        block for block in blocks("README.md") if re.search(r"\.venv/bin/prestager|^prestager ", block, re.MULTILINE)
    ]
    tried = "".join(blocks())

    assert 2 == len(quoted)
    assert [] == [block for block in quoted if block not in tried]


@pytest.mark.timeout(LONGEST_S + 30)
def test_the_blocks_work_as_printed(checkout: Checkout) -> None:
    """No command fails, sites end as the text says, no setting is left in the shell, and nothing runs on."""
    code, printed, everything = checkout.paste(blocks())

    assert 0 == code, everything
    _, _, token, created, looked, alone, aborted, _, own, *_, settings = printed
    assert "you" in token
    assert "exit code 3" in created
    assert "edge-003: failed: prestaging-images: " in created
    for part in ("FAILED", "3/3", "Failures (1)", "Not enough space for the images", "PLAY [Prestage images]"):
        assert part in looked
    assert "refused the login sysadmin@127.77.0.1 with this password" in alone
    assert "exit code 4" in aborted
    ends = dict(re.findall(r"^(edge-\d+) .*?(complete|aborted|failed)", aborted, re.MULTILINE))
    assert {"edge-001": "complete", "edge-002": "aborted", "edge-003": "aborted"} == ends
    assert "2 subclouds added" in own
    assert "".join(f"{name}={value}\n" for name, value in checkout.given.items()) == settings
    assert [] == checkout.processes()


@pytest.mark.e2e
@pytest.mark.timeout(LONGEST_S + 30)
def test_the_requests_work_as_printed(checkout: Checkout) -> None:
    """The blocks with curl of api.md do the same with the sites and the service of the quickstart."""
    sites, service, token, *_ = blocks()
    stop = next(block for block in blocks() if block.startswith("kill $service $sites"))
    code, printed, everything = checkout.paste([sites, service, token, *blocks("docs/api.md"), stop])

    assert 0 == code, everything
    _, _, _, _, created, looked, alone, aborted, _, _ = printed
    assert ["initial", "applying"] == [answer["state"] for answer in objects(created)]
    steps, failed = objects(looked)
    assert {"edge-001": "complete", "edge-002": "complete", "edge-003": "failed"} == states(steps)
    assert "Not enough space for the images" in failed["details"]
    assert "PLAY [Prestage images]" in looked
    site = objects(alone)[-1]
    assert "failed" == site["prestage-status"]
    assert "refused the login sysadmin@127.77.0.1 with this password" in site["error-description"]
    assert {"edge-001": "complete", "edge-002": "aborted", "edge-003": "aborted"} == states(objects(aborted)[-1])
    assert [] == checkout.processes()


def test_a_service_that_does_not_start_is_not_waited_for(checkout: Checkout) -> None:
    """The blocks that wait end with what they wait for, and the log has the reason."""
    sites, service, *_ = blocks()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", checkout.port))
        taken.listen()
        checkout.paste([f"set +e\n{sites}", service.replace("curl -s", "curl -s -m 1"), "kill $sites\nwait $sites\n"])

    assert "PRESTAGER_LISTEN" in (checkout.root / "var" / "fleet" / "service.log").read_text()
    assert [] == checkout.processes()
