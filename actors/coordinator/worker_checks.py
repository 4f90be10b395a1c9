"""Checks of a command against the living workers: known releases, playbooks that can be run, queues that are served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from actors.coordinator.context import CommandContext
from actors.coordinator.errors import bad_request, unprocessable
from db.database import has_broker
from db.heartbeats import missing_workers, queues_served_by
from messages.queues import PREPARE, SUBCLOUDS
from statemachine.eligibility import reason_against_sw_deploy
from statemachine.releases import is_older, release_order

_QUEUES: Final = (PREPARE, SUBCLOUDS)
# Workers that are named in one sentence.
_MOST_NAMES: Final = 5
_NOT_FOR_INSTALL: Final = "The requested release is not ready to be installed."
_NOT_FOR_SW_DEPLOY: Final = (
    "The requested software version not found or not deployed in the system controller, cannot prestage for software"
    " deploy."
)


@dataclass(frozen=True, kw_only=True)
class KnownReleases:
    """Known releases of the controller.

    Attributes:
        names: The releases (MM.mm), oldest first; None where they are not known.

        why_unknown: The reason why they are not known; empty where `names` is known.
    """

    names: tuple[str, ...] | None = None
    why_unknown: str = ""

    def lacks(self, release: str) -> bool:
        """Return whether it is known that the controller does not have `release`."""
        return self.names is not None and release not in self.names

    def warning(self, release: str) -> str | None:
        """Return the warning for a release that may be missing; None where it is known to be there or not."""
        if self.names is not None:
            return None
        return f"Whether the system controller has release {release} is not known: {self.why_unknown}."


def known_releases(context: CommandContext) -> KnownReleases:
    """Return the releases that the controller itself lists.

    Where it is not asked, those that the living workers of the prepare queue see, as a deploy directory or a feed.
    """
    if context.controller.releases is not None:
        return KnownReleases(names=context.controller.releases)
    workers = [row for row in context.living_processes if PREPARE in row["queues"]]
    if not workers:
        return KnownReleases(why_unknown="no worker that prepares releases is alive")
    seen = {release for row in workers for release in (*(row["releases"] or ()), *(row["feeds"] or ()))}
    if not seen:
        # They have not looked yet, or the playbooks get their content from elsewhere.
        return KnownReleases(why_unknown="no worker sees a release in its deploy or feed directory")
    return KnownReleases(names=tuple(sorted(seen, key=release_order)))


def require_release(context: CommandContext, release: str, *, for_sw_deploy: bool, prefix: str = "") -> str | None:
    """Return a warning where it is not known whether the controller has the release, or None.

    Args:
        context: The transaction.

        release: The release to stage (MM.mm).

        for_sw_deploy: Whether it is meant for a deployment of software, not for an installation.

        prefix: What the sentence of an error begins with.

    Raises:
        CommandRefusedError: 400; the release cannot be deployed like that, or the controller does not have it.
    """
    reason = reason_against_sw_deploy(release, for_sw_deploy=for_sw_deploy)
    if reason is not None:
        raise bad_request(prefix + reason)
    known = known_releases(context)
    if known.lacks(release):
        reason = _NOT_FOR_SW_DEPLOY if for_sw_deploy else _NOT_FOR_INSTALL
        raise bad_request(
            f"{prefix}{reason} The system controller does not have {release}; it has {', '.join(known.names or ())}."
        )
    return known.warning(release)


def require_supported_release(context: CommandContext, release: str, own: str | None) -> None:
    """Do nothing when a site may run `release` under a controller of the release `own`.

    Raises:
        CommandRefusedError: 400; the controller does not have it, or it is newer than the controller's own.
    """
    known = known_releases(context)
    supported = {*(known.names or ()), *([own] if own else ())}
    newer = own is not None and is_older(own, release)
    if release not in supported and (known.names is not None or newer):
        listed = ", ".join(sorted(supported, key=release_order))
        raise bad_request(
            f"Error: invalid release version parameter. {release} is not a supported release version ({listed})"
        )


def require_playbooks(context: CommandContext, prefix: str = "") -> str | None:
    """Return a warning that names workers that cannot run playbooks while others can; None: all can, or none is alive.

    A worker that has not checked its playbooks yet counts as one that can; one that drains does not count.

    Raises:
        CommandRefusedError: 422; workers of a queue are alive and none of them can run playbooks. `prefix` begins the
            sentence.
    """
    alive = [row for row in context.living_processes if not row["draining"]]
    for queue in _QUEUES:
        errors = [row["playbooks_error"] for row in alive if queue in row["queues"]]
        if errors and all(errors):
            raise unprocessable(f"{prefix}No worker can run the playbooks. {errors[0]}")
    broken = [row for row in alive if row["playbooks_error"] and not {*_QUEUES}.isdisjoint(row["queues"])]
    if not broken:
        return None
    names = ", ".join(row["name"] for row in broken[:_MOST_NAMES])
    more = f" and {len(broken) - _MOST_NAMES} more" if len(broken) > _MOST_NAMES else ""
    return f"Workers that cannot run the playbooks: {names}{more}. {broken[0]['playbooks_error']}"


def content_warning(context: CommandContext, release: str) -> str | None:
    """Return a warning where no worker that prepares releases sees this one, or its list of images; None: one does.

    None too while no worker is alive or none has looked, which `require_release` warns of.
    """
    rows = [row for row in context.living_processes if PREPARE in row["queues"] and row["releases"] is not None]
    if not rows or any(release in row["releases"] for row in rows):
        return None
    if any(release in (row["feeds"] or ()) for row in rows):
        return (
            f"No worker of the prepare queue has a deploy directory for release {release}, and so no list of images:"
            " no images are staged for an upgrade."
        )
    return f"No worker of the prepare queue sees release {release} in its deploy or feed directory."


def room_warning(context: CommandContext, at_once: int) -> str | None:
    """Return a warning where `at_once` sites find no free slots at once; None: they do, or no worker is alive."""
    rows = [row for row in context.living_processes if SUBCLOUDS in row["queues"] and not row["draining"]]
    free = sum(max(0, (row["slots"] or 0) - (row["running"] or 0)) for row in rows)
    if not rows or at_once <= free:
        return None
    return f"Up to {at_once} sites are worked on at once, and the workers have {free} free slots: others wait."


def idle_queues(context: CommandContext) -> list[str]:
    """Return why a strategy would not go on once applied, and what to do; one process alone always has a worker."""
    if not has_broker(context.connection):
        return []
    return missing_workers(queues_served_by(context.living_processes))
