"""Kill -9 at any time: the strategy ends as it would have, nothing runs twice at once, nothing is left behind."""

from __future__ import annotations

import random
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from tests.support.imported_sites import READY, import_sites_at
from tests.support.journal_playbooks import journal_lines, write_playbooks
from tests.support.service_process import ServiceProcess
from tests.support.waiting import BUSY_FACTOR, wait_for

SITES = 3
KILLS = 4
ORPHAN_S = 5.0 * BUSY_FACTOR
END_S = 150.0
STRATEGY = "/v1.0/sw-update-strategy"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ServiceProcess]:
    """Give a service with journal-writing playbooks and a fleet of local sites; it is not started yet."""
    write_playbooks(tmp_path / "playbooks", seconds=0.6)
    deploy = tmp_path / "deploy" / "23.09"
    deploy.mkdir(parents=True)
    (deploy / "prestage_images_list.txt").write_text("oci:none\n")
    service = ServiceProcess(
        tmp_path,
        PLAYBOOKS_DIR=tmp_path / "playbooks",
        DEPLOY_DIR=tmp_path / "deploy",
        FEED_DIR=tmp_path / "feed",
        MAX_ATTEMPTS=20,
        SLOTS=4,
    )
    (tmp_path / "journal").mkdir()
    service.prepare()
    yield service
    service.end()
    wait_for(lambda: not service.playbook_processes(), ORPHAN_S)


def add_fleet(service: ServiceProcess, tmp_path: Path) -> None:
    """Add the sites, managed and online."""
    variables = {**READY, "ansible_connection": "local", "journal_dir": str(tmp_path / "journal")}
    import_sites_at(service.database_url, {f"site{place}": variables for place in range(SITES)})


def begin(service: ServiceProcess, tmp_path: Path) -> None:
    """Create and apply a strategy over the whole fleet."""
    add_fleet(service, tmp_path)
    body = {
        "type": "prestage",
        "subcloud-apply-type": "parallel",
        "max-parallel-subclouds": 2,
        "sysadmin_password": b64encode(b"Li69nux*").decode(),
    }
    assert service.ask("POST", STRATEGY, body)[0] == 200
    assert service.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})[0] == 200


def state_of(service: ServiceProcess) -> str:
    """Return the strategy's state."""
    return str(service.get(STRATEGY)[1]["state"])


def test_killed_at_random_moments_it_ends_as_it_would_have(service: ServiceProcess, tmp_path: Path) -> None:
    """Killed again and again in the middle of a strategy, the service completes it, one playbook a site at a time."""
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    moments = random.Random(seed)
    service.start()
    begin(service, tmp_path)
    for _ in range(KILLS):
        Event().wait(moments.uniform(0.1, 4.0))
        service.kill()
        # Half of the time it is back before the orphans had time to go.
        if moments.random() < 0.5:
            wait_for(lambda: not service.playbook_processes(), ORPHAN_S)
        service.start()
    wait_for(lambda: state_of(service) not in ("applying", "aborting"), END_S, service.tail)

    lines = journal_lines(tmp_path / "journal")
    assert "complete" == state_of(service)
    assert [] == [line for line in lines if line.startswith("overlap")]
    for place in range(SITES):
        for phase in ("prestage_sw_packages", "prestage_images"):
            ended = [
                line
                for line in (tmp_path / "journal" / f"site{place}.journal").read_text().splitlines()
                if line.startswith(f"end {phase} ")
            ]
            assert ended, f"{phase} never ended on site{place}"
    assert 0 == service.stop()
    assert [] == service.playbook_processes()


@pytest.mark.quick
def test_no_orphan_outlives_the_service(service: ServiceProcess, tmp_path: Path) -> None:
    """After kill -9 in the middle of playbooks no process of theirs is left within five seconds."""
    service.start()
    begin(service, tmp_path)
    wait_for(
        lambda: any(line.startswith("begin prestage_sw") for line in journal_lines(tmp_path / "journal")),
        60,
        service.tail,
    )
    assert service.playbook_processes()

    service.kill()

    wait_for(lambda: not service.playbook_processes(), ORPHAN_S)


def test_a_standalone_prestage_survives_a_kill(service: ServiceProcess, tmp_path: Path) -> None:
    """A standalone prestage that was killed with the service ends after the next start."""
    service.start()
    add_fleet(service, tmp_path)
    body = {"sysadmin_password": b64encode(b"Li69nux*").decode()}
    assert service.ask("PATCH", "/v1.0/subclouds/site0/prestage", body)[0] == 200
    wait_for(lambda: any(line.startswith("begin") for line in journal_lines(tmp_path / "journal")), story=service.tail)
    service.kill()
    service.start()

    wait_for(lambda: service.get("/v1.0/subclouds/site0")[1]["prestage-status"] == "complete", story=service.tail)


def test_a_clean_stop_hands_everything_over(service: ServiceProcess, tmp_path: Path) -> None:
    """TERM in the middle of a strategy exits 0, leaves no process, and the next start goes on at once."""
    service.start()
    begin(service, tmp_path)
    wait_for(
        lambda: any(line.startswith("begin prestage_sw") for line in journal_lines(tmp_path / "journal")),
        60,
        service.tail,
    )

    assert 0 == service.stop()
    assert [] == service.playbook_processes()
    service.start()
    wait_for(lambda: state_of(service) == "complete", END_S, service.tail)
