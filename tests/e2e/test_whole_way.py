"""Everything at once: SSH sites with facts of their own, Keystone, RabbitMQ, PostgreSQL, our playbooks, a registry.

Takes minutes on two cores, nearly all of them Ansible's: `make e2e` runs it, `make test` does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.feed import build_feeds
from simulator.simulation import Fleet
from tests.e2e.controller import IMAGES, Controller, image_registry, running_controller, upload_images
from tests.support.keystone_server import KeystoneServer
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.simulated_fleet import simulated_fleet
from tests.support.waiting import wait_for

COUNT = 25
FAILING, SKIPPED = "edge-004", "edge-005"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


@pytest.fixture
def digests(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give a registry with the images of the target release."""
    with image_registry(tmp_path) as address:
        yield upload_images(tmp_path, address, "23.09")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Give the sites: one has no room for images, one is duplex, which only its sysinv says for sure."""
    feeds = build_feeds(tmp_path / "feed", package_count=10)
    faults = (f"images-fail={FAILING}", f"duplex={SKIPPED}")
    with simulated_fleet(tmp_path / "sites", *faults, count=COUNT, feed=feeds.root) as served:
        yield served


@pytest.fixture
def controller(tmp_path: Path, fleet: Fleet, digests: dict[str, str]) -> Iterator[Controller]:
    """Give the running service."""
    with (
        PostgresServer() as postgres,
        RabbitmqServer() as rabbitmq,
        KeystoneServer() as keystone,
        running_controller(
            tmp_path,
            fleet,
            keystone,
            DATABASE_URL=postgres.url(postgres.create_database()),
            BROKER_URL=rabbitmq.url,
            FEED_DIR=tmp_path / "feed",
            SLOTS=4,
        ) as running,
    ):
        yield running


def test_a_fleet_is_prestaged(controller: Controller, fleet: Fleet, digests: dict[str, str], tmp_path: Path) -> None:
    """Create, apply, watch, one failure, one skip; delete; again, with an abort; and no password is left anywhere."""
    controller.create()
    controller.act("apply")
    state = controller.wait_for_end()
    steps = controller.steps()

    assert "failed" == state
    assert FAILING == next(name for name, step in steps.items() if step["state"] == "failed")
    assert "Not enough space for the images" in steps[FAILING]["details"]
    assert "only accepted for a simplex subcloud" in steps[SKIPPED]["details"]
    good = [name for name in fleet.plan.names if name not in (FAILING, SKIPPED)]
    assert [("complete", "")] * (COUNT - 2) == [(steps[name]["state"], steps[name]["details"]) for name in good]
    for site in fleet.sites:
        staged = site.tree.backup / "23.09"
        assert (site.name != SKIPPED) is (staged / "prestage_packages_complete.json").exists()
        if site.name in good:
            marker = json.loads((staged / "prestage_images_complete.json").read_text())
            assert [digests[name] for name in IMAGES] == [image["digest"] for image in marker["images"]]
    assert 404 == controller.delete()

    controller.create(**{"max-parallel-subclouds": 4, "subcloud-apply-type": "parallel"})
    controller.act("apply")
    wait_for(lambda: "prestaging-packages" in {step["state"] for step in controller.steps().values()})
    controller.act("abort")
    assert controller.wait_for_end() in ("aborted", "failed")
    ended = {name: step["state"] for name, step in controller.steps().items()}
    # What was under way ran to its end; nothing else began.
    assert {"complete", "failed", "aborted"} >= set(ended.values())
    assert ["aborted"] * (COUNT - 4) == [ended[name] for name in fleet.plan.names[4:]]
    assert "aborted" not in {ended[name] for name in fleet.plan.names[:4]}
    assert 404 == controller.delete()

    secret = fleet.password.encode()
    controller.processes.end()
    assert secret not in json.dumps(controller.answers).encode()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    own = tmp_path / "sites" / "password"
    assert [own] == [path for path in kept if secret in path.read_bytes()]
