"""The demonstration's commands and service when they fail."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.directory import environment
from cli.demo.service import run_command, running_service
from service.errors import CommandError


def test_a_failed_command_is_told_in_its_own_words(tmp_path: Path) -> None:
    """What went wrong inside is what the operator reads."""
    settings = environment({"PRESTAGER_DATA_DIR": str(tmp_path)})

    with pytest.raises(CommandError, match="prestager token revoke nobody failed: Error: No token 'nobody'"):
        run_command(["token", "revoke", "nobody"], settings)


def test_a_service_that_cannot_start(tmp_path: Path) -> None:
    """A service that ends before it is ready is told with its log."""
    log = tmp_path / "service.log"
    settings = environment({"PRESTAGER_DATA_DIR": str(tmp_path / "data")})

    with (
        pytest.raises(CommandError, match="The service ended with exit code 1; see"),
        running_service(settings, log),
    ):
        pytest.fail("there is no service")
    assert "PRESTAGER_RELEASE is not set" in log.read_text()


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Give the hard limit of open files; what is started meanwhile has a soft one of 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_service_takes_all_descriptors_and_is_stopped_when_its_user_fails(
    tmp_path: Path, few_descriptors: int
) -> None:
    """Nothing is left running, and the error of the user stays what is told.

    The usual soft limit of open files is too small for many playbooks; the service raises its own to the hard one.
    """
    log = tmp_path / "service.log"
    settings = environment(
        {
            "PRESTAGER_DATA_DIR": str(tmp_path / "data"),
            "PRESTAGER_RELEASE": "23.09",
            "PRESTAGER_WORKER_NAME": f"unit-{tmp_path.name}",
            # No playbook is run.
            "PRESTAGER_PRELOAD": "false",
        }
    )
    limits: list[tuple[int, int]] = []

    def use() -> None:
        with running_service(settings, log):
            records = map(json.loads, log.read_text().splitlines())
            (pid,) = [record["pid"] for record in records if record["event"] == "service.ready"]
            limits.append(resource.prlimit(pid, resource.RLIMIT_NOFILE))
            raise CommandError("not today")

    with pytest.raises(CommandError, match="not today"):
        use()

    assert [(few_descriptors, few_descriptors)] == limits
    assert '"service.stopped"' in log.read_text()
