"""Keeps the availability of sites current by probing each again and again, with `probes`.

A site is never made offline by an error of ours: what says nothing of the site counts neither way, and neither does the
silence of a whole fleet at once, which is our own network's.

Runs on the service's event loop; the database is read and written in threads, once each per round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

import structlog
from sqlalchemy import Connection, Select, select, update

from db.database import Database
from db.errors import DatabaseUnavailableError
from db.schema import subclouds
from db.staged import end_outlived
from db.unit_of_work import unit_of_work
from messages.event_types import EmptyData
from sites.probes import Probe, ProbeAnswer, ProbeFactory
from statemachine.releases import is_staged
from statemachine.states import Availability

_log = structlog.get_logger(__name__)

# Online sites whose silence at once is put down to our own network.
_FLEET: Final = 3
# Ids in one statement; both databases take more.
_CHUNK: Final = 1000


@dataclass(frozen=True, kw_only=True)
class ProbeRules:
    """Timing of probes."""

    # Pause between two rounds, in seconds.
    interval_s: float
    # Failed probes in a row that make a site offline.
    failures: int
    # Probes at once.
    concurrency: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """Facts about one subcloud for the probe."""

    id: int
    probe: Probe
    availability_status: str
    # Failed probes in a row, at most the number that makes it offline.
    probe_failures: int
    # It shows a release as staged, which ends when the site runs another version.
    shows_staged: bool = False


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Ids of the rows that a round changes; no id is in two of them."""

    # Answered, and were offline or had failures counted.
    good: tuple[int, ...]
    # Online and failed once more, not often enough to be offline.
    counted: tuple[int, ...]
    # Failed often enough and were online.
    lost: tuple[int, ...]


class AvailabilityProbe:
    """Probes every site that `make_probe` finds a probe for again and again; the others are left alone."""

    def __init__(self, database: Database, rules: ProbeRules, make_probe: ProbeFactory) -> None:
        self._database = database
        self._rules = rules
        self._make_probe = make_probe

    async def run(self) -> NoReturn:
        """Probe until cancelled; a round that breaks is logged and the next one comes."""
        while True:
            try:
                await self.probe_once()
            except DatabaseUnavailableError as error:
                _log.warning("probe.failed", reason=str(error))
            except Exception:  # noqa: BLE001 - the top of a task
                _log.exception("probe.failed")
            await asyncio.sleep(self._rules.interval_s)

    async def probe_once(self) -> None:
        """Probe every site once and write what changed."""
        sites = await asyncio.to_thread(self._read)
        places = asyncio.Semaphore(self._rules.concurrency)
        answers = await asyncio.gather(*(self._ask(site, places) for site in sites))
        _log_doubts(sites, answers)
        changes = classify(sites, answers, self._rules.failures)
        if any((changes.good, changes.counted, changes.lost)):
            await asyncio.to_thread(self._write, changes)
        serving = zip(sites, answers, strict=True)
        staged = [site for site, answer in serving if site.shows_staged and answer is ProbeAnswer.GOOD]
        found = await asyncio.gather(*(self._version(site, places) for site in staged))
        versions = {site.id: version for site, version in zip(staged, found, strict=True) if version is not None}
        if versions:
            await asyncio.to_thread(self._end_outlived, versions)

    async def _ask(self, site: Site, places: asyncio.Semaphore) -> ProbeAnswer:
        async with places:
            return await site.probe.ask()

    async def _version(self, site: Site, places: asyncio.Semaphore) -> str | None:
        async with places:
            return await site.probe.version()

    def _read(self) -> list[Site]:
        with self._database.read() as connection:
            rows = connection.execute(_SITES).mappings()
            return [site for row in rows if (site := site_of(row, self._make_probe)) is not None]

    def _end_outlived(self, versions: Mapping[int, str]) -> None:
        with unit_of_work(self._database) as work:
            end_outlived(work, versions)

    def _write(self, changes: Changes) -> None:
        counting = {"probe_failures": subclouds.c.probe_failures + 1}
        with unit_of_work(self._database) as work:
            connection = work.connection
            _set(connection, changes.counted, counting)
            # A site may be good with failures counted and online all the while: only a change of status is news.
            _set(connection, changes.good, {"probe_failures": 0})
            _set(connection, changes.lost, {"probe_failures": self._rules.failures})
            for ids, status in ((changes.good, Availability.ONLINE), (changes.lost, Availability.OFFLINE)):
                for name in _change_status(connection, ids, status, work.at):
                    work.emit(f"subcloud.{status}", f"subcloud/{name}", EmptyData())
                    _log.info(f"subcloud.{status}", subcloud=name)


_SITES: Final[Select[Any]] = select(
    subclouds.c.id,
    subclouds.c.name,
    subclouds.c.management_start_ip,
    subclouds.c.oam_floating_ip,
    subclouds.c.connection,
    subclouds.c.caller_connection,
    subclouds.c.availability_status,
    subclouds.c.probe_failures,
    subclouds.c.prestage_status,
)


def site_of(row: Mapping[Any, Any], make_probe: ProbeFactory) -> Site | None:
    """Return a subcloud with its probe; None when it has no address to probe."""
    probe = make_probe(row)
    if probe is None:
        return None
    return Site(
        id=row["id"],
        probe=probe,
        availability_status=row["availability_status"],
        probe_failures=row["probe_failures"],
        shows_staged=is_staged(row),
    )


def classify(sites: Sequence[Site], answers: Sequence[ProbeAnswer], failures: int) -> Changes:
    """Return which rows change; `answers` has one for each of `sites`."""
    good: list[int] = []
    counted: list[int] = []
    lost: list[int] = []
    failed = {ProbeAnswer.BAD} if is_fleet_silent(sites, answers) else {ProbeAnswer.BAD, ProbeAnswer.SILENT}
    for site, answer in zip(sites, answers, strict=True):
        is_online = site.availability_status == Availability.ONLINE
        if answer is ProbeAnswer.GOOD:
            if not is_online or site.probe_failures:
                good.append(site.id)
        elif is_online and answer in failed:
            (lost if site.probe_failures + 1 >= failures else counted).append(site.id)
    return Changes(good=tuple(good), counted=tuple(counted), lost=tuple(lost))


def is_fleet_silent(sites: Sequence[Site], answers: Sequence[ProbeAnswer]) -> bool:
    """Tell whether no site gave any answer though several were online: then the error is likelier ours.

    One or two sites may well be gone together; from three on, all at once, the network that they share is.
    """
    online = sum(site.availability_status == Availability.ONLINE for site in sites)
    return online >= _FLEET and {ProbeAnswer.GOOD, ProbeAnswer.BAD}.isdisjoint(answers)


def _log_doubts(sites: Sequence[Site], answers: Sequence[ProbeAnswer]) -> None:
    unsure = sum(answer is ProbeAnswer.UNSURE for answer in answers)
    if unsure:
        _log.warning("probe.inconclusive", sites=unsure, advice="See prestager doctor: login, authorities or network.")
    if is_fleet_silent(sites, answers):
        _log.warning("probe.fleet-silent", sites=len(sites), advice="No site answers: look at this machine's network.")


def _set(connection: Connection, ids: Collection[int], values: Mapping[str, Any]) -> None:
    for chunk in _chunks(ids):
        connection.execute(update(subclouds).where(subclouds.c.id.in_(chunk)).values(**values))


def _change_status(connection: Connection, ids: Collection[int], status: Availability, at: datetime) -> Iterator[str]:
    """Give the sites another status and return the names of those that did not have it."""
    for chunk in _chunks(ids):
        statement = (
            update(subclouds)
            .where(subclouds.c.id.in_(chunk), subclouds.c.availability_status != status)
            .values(availability_status=status, updated_at=at)
            .returning(subclouds.c.name)
        )
        yield from connection.execute(statement).scalars().all()


def _chunks(ids: Collection[int]) -> Iterator[Sequence[int]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
