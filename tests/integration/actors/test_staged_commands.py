"""What is shown as staged follows the site: it ends with a new software version, and where nobody knows any more."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from db.schema import subclouds
from messages.commands import CommandType
from tests.support.imported_sites import READY, import_sites
from tests.support.installation import Installation

SHOWN = "for-install: 23.09 - for-sw-deploy: None"


def add_staged(
    installation: Installation, name: str = "a", *, status: str = "complete", versions: str | None = SHOWN
) -> None:
    """Add a site that shows how its last prestage ended."""
    installation.add_site(name)
    with installation.database.write() as connection:
        shown = {"prestage_status": status, "prestage_versions": versions}
        connection.execute(update(subclouds).where(subclouds.c.name == name).values(shown))


def staged(installation: Installation, name: str = "a") -> tuple[str | None, str | None]:
    """Return what a site shows of its last prestage."""
    row = installation.site(name)
    return row["prestage_status"], row["prestage_versions"]


def forget(installation: Installation, **data: Any) -> Any:
    """Say that it is not known whether a release is staged."""
    return installation.ask(
        CommandType.SUBCLOUD_STAGED, subject="a", **{"release": "23.09", "verdict": "unknown", **data}
    )


def test_a_new_software_version_ends_it(installation: Installation) -> None:
    """A site that runs another version than before shows nothing as staged."""
    add_staged(installation)

    body = installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "23.09"}).body

    assert (None, None) == (body["prestage-status"], body["prestage-versions"]) == staged(installation)


def test_the_same_software_version_ends_nothing(installation: Installation) -> None:
    """A site that is said to run what it runs keeps what it shows, as with any other change."""
    add_staged(installation)

    assert 200 == installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "22.12"}).status
    assert 200 == installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", description="x").status
    assert ("complete", SHOWN) == staged(installation)


def test_a_declared_version_that_stays_ends_nothing(installation: Installation) -> None:
    """A site that was found to run another version than it is declared to run keeps what it shows, said once more."""
    add_staged(installation)
    with installation.database.write() as connection:
        connection.execute(update(subclouds).values(prestage_from_version="21.12"))

    assert 200 == installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "22.12"}).status
    assert ("complete", SHOWN) == staged(installation)


@pytest.mark.parametrize("status", ["failed", "prestaging"])
def test_only_what_is_complete_ends(installation: Installation, status: str) -> None:
    """A prestage that failed or goes on is shown until the next one."""
    add_staged(installation, status=status)

    installation.ask(CommandType.SUBCLOUD_UPDATE, subject="a", **{"software-version": "23.09"})

    assert (status, SHOWN) == staged(installation)


def test_an_imported_software_version_ends_it(installation: Installation) -> None:
    """The operator's file that says another version ends what was shown, and the same file again changes nothing."""
    add_staged(installation)

    import_sites(installation.database, {"a": {**READY, "prestager_software_version": "23.09"}})

    assert (None, None) == staged(installation)


@pytest.mark.parametrize("versions", [SHOWN, "for-install: None - for-sw-deploy: 23.09.1", "22.12 23.09"])
def test_not_known_any_more(installation: Installation, versions: str) -> None:
    """A release whose presence is not known any more is not shown; a repeat changes nothing."""
    add_staged(installation, versions=versions)

    first, again = forget(installation), forget(installation)

    assert [(200, None), (200, None)] == [(each.status, each.body["prestage-status"]) for each in (first, again)]
    assert (None, None) == staged(installation)
    assert first.body["updated-at"] == again.body["updated-at"]


@pytest.mark.parametrize(
    ("status", "versions"),
    [("complete", "for-install: 22.12 - for-sw-deploy: None"), ("complete", "123.09 23.091"), ("failed", SHOWN)],
)
def test_another_release_stays(installation: Installation, status: str, versions: str) -> None:
    """A site that shows another release, or no complete one, stays as it is."""
    add_staged(installation, status=status, versions=versions)

    assert 200 == forget(installation).status
    assert (status, versions) == staged(installation)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        ({"release": "23.09.1"}, "Specified release format is not supported. Version format must be MM.mm."),
    ],
)
def test_wrong_words_are_refused(installation: Installation, data: dict[str, Any], detail: str) -> None:
    """A wrong field is refused by name and changes nothing."""
    add_staged(installation)

    answer = forget(installation, **data)

    assert (400, detail) == (answer.status, answer.detail)
    assert ("complete", SHOWN) == staged(installation)


def test_one_at_work_stays(installation: Installation) -> None:
    """What is staged is not changed while the site is being worked on; an unknown site is a 404."""
    add_staged(installation)
    installation.create()
    installation.verb("apply")

    answer = forget(installation)
    unknown = installation.ask(CommandType.SUBCLOUD_STAGED, subject="ghost", release="23.09", verdict="unknown")

    assert (400, "Cannot change what is staged during an active operation.") == (answer.status, answer.detail)
    assert (404, "Subcloud not found") == (unknown.status, unknown.detail)
