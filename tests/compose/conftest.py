"""One running installation of containers, and a fleet for it to prestage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from demo.feed import build_feeds
from demo.images import build_images
from simulator.inventory import write_inventory
from simulator.simulation import Fleet
from tests.compose.engine import Engine, cache_directory
from tests.compose.installation import PROJECT_VARIABLE, RELEASE, USER, Installation
from tests.support.simulated_fleet import simulated_fleet

SITES = 10
_FORMER = "22.12"
# Of this machine in the network of the test, and reached from each container through its gateway.
_FIRST_SITE = IPv4Address("198.18.0.1")


@pytest.fixture(scope="session")
def project() -> Installation:
    """Give the project whose image is built."""
    directory = os.environ.get(PROJECT_VARIABLE)
    if directory is None:
        pytest.fail("These tests need images and namespaces of their own; run: make compose-test")
    return Installation(engine=Engine(directory=cache_directory()), directory=Path(directory))


@pytest.fixture(scope="session")
def fleet(project: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Serve simulated sites, make the content that they are prestaged with, and write their inventory."""
    feeds = build_feeds(project.feed, previous=_FORMER, target=RELEASE)
    (project.deploy / RELEASE).mkdir()
    build_images(project.deploy / RELEASE)
    for path in (project.deploy, *project.deploy.rglob("*")):
        shutil.chown(path, USER, USER)
    place = tmp_path_factory.mktemp("fleet")
    with simulated_fleet(
        place,
        count=SITES,
        feed=feeds.root,
        first_address=_FIRST_SITE,
        free_ports=False,
        release=_FORMER,
        target=RELEASE,
    ) as served:
        write_inventory(served, project.inventory, max_parallel=4)
        yield served


@pytest.fixture(scope="session")
def running(project: Installation, fleet: Fleet) -> Iterator[Installation]:
    """Give the services of docker-compose.yml, healthy, with a worker added to the first and the fleet imported."""
    try:
        project.up()
        first = project.inspect("worker")["Id"]
        project.scale(2)
        assert first == project.inspect("worker")["Id"], "scaling replaced the worker that ran"
        project.create_token()
        project.import_inventory(project.inventory)
        yield project
    finally:
        project.down()
    assert "" == project.leftovers(), "down left something behind"
