"""The demonstration fleet: the inventory is what Ansible reads, and the odd sites behave as promised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo.sites_content import DemoFleet, DemoOutcome, build_fleet
from tests.integration.playbooks.playbook_site import PlaybookSite


@pytest.fixture
def fleet(tmp_path: Path) -> DemoFleet:
    """Return a small fleet."""
    return build_fleet(tmp_path / "fleet", package_count=10)


def test_inventory_says_the_same_as_the_fleet(fleet: DemoFleet) -> None:
    """`ansible-inventory --list` on fleet.yml gives every site with the variables that the fleet's dataclasses hold."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-inventory"), "-i", str(fleet.inventory), "--list"],
        check=True,
        capture_output=True,
    )

    listed = json.loads(done.stdout)
    assert {site.name: dict(site.host_vars) for site in fleet.sites} == listed["_meta"]["hostvars"]
    assert {group.name for group in fleet.groups} == set(listed["all"]["children"]) - {"ungrouped"}


def test_every_site_has_an_expected_outcome(fleet: DemoFleet) -> None:
    """Twelve sites in three groups, of which eight succeed and one each is odd in its own way."""
    outcomes = [expected.outcome for expected in fleet.expected.values()]

    assert [site.name for site in fleet.sites] == list(fleet.expected)
    assert (12, 3) == (len(fleet.sites), len(fleet.groups))
    assert {
        DemoOutcome.COMPLETE: 8,
        DemoOutcome.LEFT_OUT: 2,
        DemoOutcome.SKIPPED: 1,
        DemoOutcome.FAILED: 1,
    } == {outcome: outcomes.count(outcome) for outcome in DemoOutcome}


def test_the_small_site_fails_for_its_expected_reason(fleet: DemoFleet) -> None:
    """The site with the small quota fails its images with the reason that the fleet promises."""
    small = next(site for site in fleet.sites if fleet.expected[site.name].outcome is DemoOutcome.FAILED)
    run = _site(fleet, small.name).run("prestage_images.yml", image_list_file=str(fleet.images.list_file))

    assert fleet.expected[small.name].reason in run.failures[0]


def test_the_reinstall_site_needs_nothing_from_the_controller(fleet: DemoFleet) -> None:
    """The site on the target release stages packages and images from itself."""
    again = next(site for site in fleet.sites if site.software_version == fleet.feeds.target)
    site = _site(fleet, again.name)

    packages = site.run("prestage_sw_packages.yml").require_success()
    images = site.run("prestage_images.yml").require_success()

    assert (0, 3) == (packages.stats["transferred_count"], images.stats["image_count"])


def _site(fleet: DemoFleet, name: str) -> PlaybookSite:
    host_vars = next(dict(site.host_vars) for site in fleet.sites if site.name == name)
    return PlaybookSite(root=fleet.root, feeds=fleet.feeds, host_vars=host_vars)
