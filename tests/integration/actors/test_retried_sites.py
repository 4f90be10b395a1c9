"""Retries with our playbooks, run by real Ansible at sites that are directories (decision 68)."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.schema import runs, steps
from demo.sites_content import SMALL_QUOTA_BYTES, DemoFleet, build_fleet
from messages.commands import CommandType
from runner.interface import PlaybookJob
from runner.supervisor import Supervisor
from service.controller import ansible_installation
from service.settings import Settings
from tests.support.imported_sites import import_sites
from tests.support.installation import Installation, StartedInstallation
from tests.support.waiting import wait_for

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"
PREPARE, PACKAGES, IMAGES = "prepare_prestage_packages.yml", "prestage_sw_packages.yml", "prestage_images.yml"
LARGE_QUOTA_BYTES = 1 << 40


class JournalSupervisor(Supervisor):
    """A supervisor that writes down which playbook is run for which host."""

    journal: list[tuple[str, str]]

    def submit(self, job: PlaybookJob) -> None:
        """Run a playbook, and write it down."""
        super().submit(job)
        self.journal.append((job.playbook.name, job.host))


class RetriedFleet:
    """An installation over the demonstration's sites."""

    def __init__(self, root: Path, names: tuple[str, ...]) -> None:
        self.fleet: DemoFleet = build_fleet(root / "fleet", package_count=10, names=names)
        self.journal: list[tuple[str, str]] = []
        given = {
            "playbooks_dir": PLAYBOOKS,
            "deploy_dir": self.fleet.deploy_directory,
            "feed_dir": self.fleet.feeds.root,
            "release": self.fleet.feeds.target,
        }
        ansible = ansible_installation(Settings(data_dir=root, **given))

        def supervisor(done: Any) -> JournalSupervisor:
            worker = f"test-{uuid.uuid4().hex[:8]}"
            made = JournalSupervisor(slots=2, worker=worker, on_finished=done, ansible=ansible, warm=0)
            made.journal = self.journal
            return made

        self.installation: StartedInstallation = Installation.embedded(root, runner_factory=supervisor, **given)

    def set_quota(self, **quotas: int) -> None:
        """Import the sites, some with a largest size of their images; the names have no dash here."""
        hosts = {
            site.name: {
                **site.host_vars,
                "prestage_image_quota_bytes": quotas.get(site.name.replace("-", ""), LARGE_QUOTA_BYTES),
            }
            for site in self.fleet.sites
        }
        ours = ("controller_feed_root", "prestage_shared_root")
        import_sites(
            self.installation.database,
            {name: {key: value for key, value in own.items() if key not in ours} for name, own in hosts.items()},
        )

    def packages_of(self, name: str) -> Path:
        """Return the directory of a site's staged packages."""
        return self.fleet.root / "sites" / name / "backup" / self.fleet.feeds.target / "Packages"

    def retry(self, strategy_id: int) -> tuple[str, list[tuple[str, str]]]:
        """Retry a strategy, and return how it ended and which playbooks ran for which hosts."""
        before = len(self.journal)
        answer = self.installation.ask(CommandType.STRATEGY_RETRY, subject=str(strategy_id), password="pw", apply=True)
        assert 200 == answer.status, answer.detail
        return self.ending(), sorted(self.journal[before:])

    def run(self) -> str:
        """Run a strategy over all sites and return how it ended."""
        created = self.installation.create(password="pw")
        assert 200 == created.status, created.detail
        assert 200 == self.installation.verb("apply").status
        return self.ending()

    def ending(self) -> str:
        """Wait for the end of the strategy and return it."""
        wait_for(lambda: self.installation.state() in ("complete", "failed", "aborted"))
        return self.installation.state()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RetriedFleet]]:
    """Give a function that starts an installation over some sites."""
    started: list[RetriedFleet] = []

    def start(*names: str) -> RetriedFleet:
        started.append(RetriedFleet(tmp_path, names))
        return started[-1]

    yield start
    for one in started:
        one.installation.stop()


def test_only_the_images_of_those_that_failed(start: Callable[..., RetriedFleet]) -> None:
    """After failed images of some sites a retry makes one preparation, and runs only the images at those.

    A site whose packages were removed fails with that sentence; its next retry begins with the packages.
    """
    fleet = start("edge-01", "edge-07", "edge-08")
    fleet.set_quota(edge07=SMALL_QUOTA_BYTES, edge08=SMALL_QUOTA_BYTES)
    assert "failed" == fleet.run()
    assert "Not enough space for the images" in fleet.installation.step("edge-08")["details"]
    fleet.set_quota()
    shutil.rmtree(fleet.packages_of("edge-07"))

    end, journal = fleet.retry(1)

    assert "failed" == end
    assert [(IMAGES, "edge-07"), (IMAGES, "edge-08")] == [line for line in journal if line[0] != PREPARE]
    assert 1 == len([line for line in journal if line[0] == PREPARE])
    assert [False, False] == [row["proved_by"] is None for row in fleet.installation.rows(steps, strategy_id=2)]
    assert "complete" == fleet.installation.step("edge-08")["state"]
    details = fleet.installation.step("edge-07")["details"]
    assert "that an earlier run staged are not on this site any more: " in details
    assert "is missing or damaged. Retry: the next retry begins at this site with the packages." in details
    assert ["proof"] == [
        row["failure_class"] for row in fleet.installation.rows(runs, outcome="failed") if row["id"] > 0
    ][-1:]

    end, journal = fleet.retry(2)

    assert "complete" == end
    assert [(IMAGES, "edge-07"), (PACKAGES, "edge-07")] == [line for line in journal if line[0] != PREPARE]
    assert fleet.packages_of("edge-07").is_dir()


def test_a_site_of_the_release_itself(start: Callable[..., RetriedFleet]) -> None:
    """A reinstalled site passes its packages too: the controller says what its own feed should hold."""
    fleet = start("edge-05")
    fleet.set_quota(edge05=SMALL_QUOTA_BYTES)
    assert "failed" == fleet.run()
    assert [(IMAGES, "edge-05"), (PACKAGES, "edge-05")] == sorted(fleet.journal)
    fleet.set_quota()

    end, journal = fleet.retry(1)

    assert "complete" == end, fleet.installation.step("edge-05")["details"]
    assert [(PREPARE, "edge-05"), (IMAGES, "edge-05")] == journal


def test_a_release_without_images(start: Callable[..., RetriedFleet]) -> None:
    """Where no images are left to stage, the site is looked at all the same before it counts as complete."""
    fleet = start("edge-07", "edge-08")
    fleet.set_quota(edge07=SMALL_QUOTA_BYTES, edge08=SMALL_QUOTA_BYTES)
    assert "failed" == fleet.run()
    fleet.fleet.images.list_file.unlink()
    (fleet.packages_of("edge-07").parent / "prestage_packages_complete.json").unlink()

    end, journal = fleet.retry(1)

    assert "failed" == end
    assert [(IMAGES, "edge-07"), (IMAGES, "edge-08")] == [line for line in journal if line[0] != PREPARE]
    assert "prestage_packages_complete.json is missing" in fleet.installation.step("edge-07")["details"]
    assert "complete" == fleet.installation.step("edge-08")["state"]
