"""A release that the controller does not have is refused before anything runs, as far as its workers can say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.schema import steps, strategies, subclouds
from messages.commands import CommandType
from messages.queues import PRECHECKS, PREPARE, SUBCLOUDS, WORKER_QUEUES
from tests.support.installation import Installation

NOT_HERE = "The requested release is not ready to be installed. The system controller does not have 25.03; it has "
NOT_DEPLOYED = (
    "The requested software version not found or not deployed in the system controller, cannot prestage for software"
    " deploy. The system controller does not have 25.03; it has "
)
UNKNOWN = "Whether the system controller has release 25.03 is not known: "


def add_worker(
    installation: Installation,
    name: str = "w1",
    *,
    queue: str | None = PREPARE,
    releases: Sequence[str] | None = (),
    feeds: Sequence[str] | None = (),
) -> None:
    """Let a worker report what it sees; `queue` None: it serves all."""
    queues = WORKER_QUEUES if queue is None else (queue,)
    identity = ProcessIdentity(
        process=f"{name}@host/1", name=name, host="host", version="1", roles=("worker",), queues=queues, slots=1
    )
    report = ProcessReport(
        key_ids=("k",),
        releases=None if releases is None else tuple(releases),
        feeds=None if feeds is None else tuple(feeds),
        playbooks_error="",
    )
    with installation.database.write() as connection:
        register_process(connection, identity, report)


@pytest.mark.parametrize(("options", "refusal"), [({}, NOT_HERE), ({"for_sw_deploy": "true"}, NOT_DEPLOYED)])
def test_a_release_that_nobody_sees_is_refused(
    installation: Installation, options: dict[str, str], refusal: str
) -> None:
    """Create and standalone prestage name the releases that there are, the oldest first; nothing is changed."""
    installation.add_site("a")
    add_worker(installation, "w1", releases=["24.09", "9.10"])
    add_worker(installation, "w2", feeds=["22.12"])

    created = installation.create(release="25.03", **options)
    prestaged = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="a", release="25.03", **options)

    assert (400, f"{refusal}9.10, 22.12, 24.09.") == (created.status, created.detail)
    assert (400, f"Prestage failed 'a': {refusal}9.10, 22.12, 24.09.") == (prestaged.status, prestaged.detail)
    assert ([], []) == (installation.rows(strategies), installation.rows(steps))
    assert None is installation.site("a")["prestage_status"]


@pytest.mark.parametrize("place", ["releases", "feeds"])
def test_a_release_that_one_worker_sees_is_there(installation: Installation, place: str) -> None:
    """One worker that sees a release, as a deploy directory or as a feed, suffices, and nothing is told."""
    installation.add_site("a")
    installation.add_site("b")
    add_worker(installation, "w1", releases=["24.09"])
    add_worker(installation, "w2", queue=None, **{place: ["25.03"]})

    prestaged = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b", release="25.03")
    created = installation.create(release="25.03", cloud_name="a")

    assert [(200, None), (200, None)] == [(each.status, each.body["info_message"]) for each in (created, prestaged)]


def test_nobody_who_could_say(installation: Installation) -> None:
    """Without a worker that prepares releases, the answers say that it is not known."""
    installation.add_site("a")
    installation.add_site("b")
    add_worker(installation, queue=SUBCLOUDS, releases=["24.09"])

    prestaged = installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="b", release="25.03")
    created = installation.create(release="25.03", cloud_name="a")

    told = f"{UNKNOWN}no worker that prepares releases is alive."
    assert (200, told) == (prestaged.status, prestaged.body["info_message"])
    assert (200, told) == (created.status, created.body["info_message"].splitlines()[0])


@pytest.mark.parametrize("seen", [None, ()])
def test_content_that_is_elsewhere(installation: Installation, seen: tuple[str, ...] | None) -> None:
    """Workers that see no release at all, or have not looked yet, refuse none; the answer says that it is not known."""
    installation.add_site("a")
    add_worker(installation, queue=None, releases=seen, feeds=seen)

    created = installation.create(release="25.03")

    assert (200, f"{UNKNOWN}no worker sees a release in its deploy or feed directory.") == (
        created.status,
        created.body["info_message"],
    )


class ListingController:
    """A controller that lists its releases."""

    def is_upgrading(self) -> bool:
        return False

    def releases(self) -> tuple[str, ...] | None:
        return ("22.12", "24.09")


def test_the_controllers_own_list_counts(installation: Installation) -> None:
    """What the controller itself lists counts, whatever its workers see."""
    installation.add_site("a")
    add_worker(installation, queue=None, releases=["25.03"])
    installation.coordinator._controller_check = ListingController()

    refused, created = installation.create(release="25.03"), installation.create(release="24.09")

    assert (400, f"{NOT_HERE}22.12, 24.09.") == (refused.status, refused.detail)
    assert (200, None) == (created.status, created.body["info_message"])


@pytest.mark.parametrize("release", ["25.03", "21.12"])
def test_a_site_of_a_release_that_is_not_supported(installation: Installation, release: str) -> None:
    """A subcloud is not added with a release that the controller does not have."""
    add_worker(installation, releases=["24.09", "22.12"])

    answer = installation.ask(CommandType.SUBCLOUD_ADD, name="a", release=release)

    assert (
        400,
        f"Error: invalid release version parameter. {release} is not a supported release version (22.12, 23.09, 24.09)",
    ) == (answer.status, answer.detail)
    assert [] == installation.rows(subclouds)


@pytest.mark.parametrize("release", ["22.12", "23.09", "24.09"])
def test_a_site_of_a_release_that_is_supported(installation: Installation, release: str) -> None:
    """A subcloud is added with a release that the controller has, or its own."""
    add_worker(installation, releases=["24.09", "22.12"])

    assert release == installation.ask(CommandType.SUBCLOUD_ADD, name="a", release=release).body["software-version"]


def test_a_site_newer_than_the_controller(installation: Installation) -> None:
    """Where nobody sees the releases, only a site that is newer than the controller is refused."""
    assert 200 == installation.ask(CommandType.SUBCLOUD_ADD, name="a", release="21.12").status
    assert 400 == installation.ask(CommandType.SUBCLOUD_ADD, name="b", release="24.09").status


@pytest.mark.parametrize(
    ("queues", "told"),
    [
        ((), "No worker is alive: nothing is checked or staged until one is. Start one: prestager worker"),
        ((PRECHECKS, PREPARE), f"No living worker serves {SUBCLOUDS}. Start one: prestager worker"),
        ((None,), None),
    ],
)
def test_a_strategy_that_no_worker_would_carry_out(
    installation: Installation, queues: Sequence[str | None], told: str | None
) -> None:
    """A strategy is created without workers too; the answer says which are missing."""
    installation.add_site("a")
    installation.coordinator._controller_check = ListingController()
    for number, queue in enumerate(queues):
        add_worker(installation, f"w{number}", queue=queue)

    created = installation.create(release="24.09")

    assert (200, told) == (created.status, created.body["info_message"])
