"""What is shown as staged follows the site: it ends with a new software version, and where nobody knows any more."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from db.schema import subclouds
from messages.commands import CommandType
from tests.integration.actors.coordinator_house import House
from tests.support.imported_sites import READY, import_sites

SHOWN = "for-install: 23.09 - for-sw-deploy: None"


def add_staged(house: House, name: str = "a", *, status: str = "complete", versions: str | None = SHOWN) -> None:
    """Add a site that shows how its last prestage ended."""
    house.add_site(name)
    with house.database.write() as connection:
        shown = {"prestage_status": status, "prestage_versions": versions}
        connection.execute(update(subclouds).where(subclouds.c.name == name).values(shown))


def staged(house: House, name: str = "a") -> tuple[str | None, str | None]:
    """Return what a site shows of its last prestage."""
    row = house.site(name)
    return row["prestage_status"], row["prestage_versions"]


def forget(house: House, **data: Any) -> Any:
    """Say that it is not known whether a release is staged."""
    return house.ask(CommandType.SUBCLOUD_STAGED, subject="a", **{"release": "23.09", "verdict": "unknown", **data})


def test_a_new_software_version_ends_it(house: House) -> None:
    """A site that runs another version than before shows nothing as staged."""
    add_staged(house)

    body = house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "23.09"}).body

    assert (None, None) == (body["prestage-status"], body["prestage-versions"]) == staged(house)


def test_the_same_software_version_ends_nothing(house: House) -> None:
    """A site that is said to run what it runs keeps what it shows, as with any other change."""
    add_staged(house)

    assert 200 == house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "22.12"}).status
    assert 200 == house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", description="x").status
    assert ("complete", SHOWN) == staged(house)


def test_a_declared_version_that_stays_ends_nothing(house: House) -> None:
    """A site that was found to run another version than it is declared to run keeps what it shows, said once more."""
    add_staged(house)
    with house.database.write() as connection:
        connection.execute(update(subclouds).values(prestage_from_version="21.12"))

    assert 200 == house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "22.12"}).status
    assert ("complete", SHOWN) == staged(house)


@pytest.mark.parametrize("status", ["failed", "prestaging"])
def test_only_what_is_complete_ends(house: House, status: str) -> None:
    """A prestage that failed or goes on is shown until the next one."""
    add_staged(house, status=status)

    house.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "23.09"})

    assert (status, SHOWN) == staged(house)


def test_an_imported_software_version_ends_it(house: House) -> None:
    """The operator's file that says another version ends what was shown, and the same file again changes nothing."""
    add_staged(house)

    import_sites(house.database, {"a": {**READY, "prestager_software_version": "23.09"}})

    assert (None, None) == staged(house)


@pytest.mark.parametrize("versions", [SHOWN, "for-install: None - for-sw-deploy: 23.09.1", "22.12 23.09"])
def test_not_known_any_more(house: House, versions: str) -> None:
    """A release whose presence is not known any more is not shown; a repeat changes nothing."""
    add_staged(house, versions=versions)

    first, again = forget(house), forget(house)

    assert [(200, None), (200, None)] == [(each.status, each.body["prestage-status"]) for each in (first, again)]
    assert (None, None) == staged(house)
    assert first.body["updated-at"] == again.body["updated-at"]


@pytest.mark.parametrize(
    ("status", "versions"),
    [("complete", "for-install: 22.12 - for-sw-deploy: None"), ("complete", "123.09 23.091"), ("failed", SHOWN)],
)
def test_another_release_stays(house: House, status: str, versions: str) -> None:
    """A site that shows another release, or no complete one, stays as it is."""
    add_staged(house, status=status, versions=versions)

    assert 200 == forget(house).status
    assert (status, versions) == staged(house)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"release": None}, "Specified release format is not supported. Version format must be MM.mm."),
        ({"release": "23.09.1"}, "Specified release format is not supported. Version format must be MM.mm."),
        ({"verdict": "complete"}, "Invalid verdict: complete; give unknown"),
        ({"verdict": None}, "Invalid verdict: None; give unknown"),
    ],
)
def test_wrong_words_are_refused(house: House, data: dict[str, Any], detail: str) -> None:
    """A wrong field is refused by name and changes nothing."""
    add_staged(house)

    answer = forget(house, **data)

    assert (400, detail) == (answer.status, answer.detail)
    assert ("complete", SHOWN) == staged(house)


def test_one_at_work_stays(house: House) -> None:
    """What is staged is not changed while the site is being worked on; an unknown site is a 404."""
    add_staged(house)
    house.create()
    house.verb("apply")

    answer = forget(house)
    unknown = house.ask(CommandType.SUBCLOUD_STAGED, subject="ghost", release="23.09", verdict="unknown")

    assert (400, "Cannot change what is staged during an active operation.") == (answer.status, answer.detail)
    assert (404, "Subcloud not found") == (unknown.status, unknown.detail)
