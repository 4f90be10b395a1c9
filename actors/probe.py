"""Keeps the availability of sites current by TCP connections to their SSH ports.

Runs on the service's event loop; the database is read and written in threads, once each per round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import structlog
from sqlalchemy import Connection, Select, select, update

from db.engine import Database
from db.journal import Journal
from db.schema import subclouds
from statemachine.states import Availability

_log = structlog.get_logger(__name__)

_SSH_PORT: Final = 22
_LARGEST_PORT: Final = 65_535
# Ids in one statement; both databases take more.
_CHUNK: Final = 1000


@dataclass(frozen=True, kw_only=True)
class ProbeRules:
    """How sites are probed."""

    # Pause between two rounds, in seconds.
    interval_s: float
    # How long a connection is waited for, in seconds.
    timeout_s: float
    # Failed probes in a row that make a site offline.
    failures: int
    # Probes at once.
    concurrency: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """What the probe knows of one subcloud."""

    id: int
    host: str
    port: int
    availability_status: str
    # Failed probes in a row, at most the number that makes it offline.
    probe_failures: int


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
    """Probes every site whose address is known again and again; sites reached without a network are left alone."""

    def __init__(self, database: Database, rules: ProbeRules) -> None:
        self._database = database
        self._rules = rules

    async def run(self) -> NoReturn:
        """Probe until cancelled; a round that breaks is logged and the next one comes."""
        while True:
            try:
                await self.probe_once()
            except Exception:  # noqa: BLE001 - the top of a task
                _log.exception("probe.failed")
            await asyncio.sleep(self._rules.interval_s)

    async def probe_once(self) -> None:
        """Probe every site once and write what changed."""
        sites = await asyncio.to_thread(self._read)
        places = asyncio.Semaphore(self._rules.concurrency)
        answers = await asyncio.gather(*(self._answers(site, places) for site in sites))
        changes = judge(sites, answers, self._rules.failures)
        if any((changes.good, changes.counted, changes.lost)):
            await asyncio.to_thread(self._write, changes)

    async def _answers(self, site: Site, places: asyncio.Semaphore) -> bool:
        async with places:
            try:
                async with asyncio.timeout(self._rules.timeout_s):
                    _, writer = await asyncio.open_connection(site.host, site.port)
            # A name that cannot be encoded for the resolver is a UnicodeError.
            except (OSError, TimeoutError, UnicodeError):
                return False
            # Nothing is sent, so nothing is worth waiting for.
            writer.transport.abort()
            return True

    def _read(self) -> list[Site]:
        with self._database.read() as connection:
            rows = connection.execute(_SITES).mappings()
            return [site for row in rows if (site := site_of(row)) is not None]

    def _write(self, changes: Changes) -> None:
        journal = Journal(at := datetime.now(UTC))
        counting = {"probe_failures": subclouds.c.probe_failures + 1}
        with self._database.write() as connection:
            _set(connection, changes.counted, counting)
            # A site may be good with failures counted and online all the while: only a change of status is news.
            _set(connection, changes.good, {"probe_failures": 0})
            _set(connection, changes.lost, {"probe_failures": self._rules.failures})
            for ids, status in ((changes.good, Availability.ONLINE), (changes.lost, Availability.OFFLINE)):
                for name in _turn(connection, ids, status, at):
                    journal.tell(f"subcloud.{status}", f"subcloud/{name}", {})
                    _log.info(f"subcloud.{status}", subcloud=name)
            journal.write(connection)


_SITES: Final[Select[Any]] = select(
    subclouds.c.id,
    subclouds.c.oam_floating_ip,
    subclouds.c.connection,
    subclouds.c.availability_status,
    subclouds.c.probe_failures,
)


def site_of(row: Mapping[Any, Any]) -> Site | None:
    """Return where a subcloud is probed: the place that playbooks connect to; None when no network leads there."""
    connection = row["connection"]
    host = connection.get("ansible_host") or row["oam_floating_ip"]
    if not isinstance(host, str) or connection.get("ansible_connection") == "local":
        return None
    return Site(
        id=row["id"],
        host=host,
        port=_port(connection.get("ansible_port")),
        availability_status=row["availability_status"],
        probe_failures=row["probe_failures"],
    )


def judge(sites: Sequence[Site], answers: Sequence[bool], failures: int) -> Changes:
    """Return which rows change; `answers` tells for each of `sites` whether it answered."""
    good: list[int] = []
    counted: list[int] = []
    lost: list[int] = []
    for site, answered in zip(sites, answers, strict=True):
        is_online = site.availability_status == Availability.ONLINE
        if answered:
            if not is_online or site.probe_failures:
                good.append(site.id)
        elif is_online:
            (lost if site.probe_failures + 1 >= failures else counted).append(site.id)
    return Changes(good=tuple(good), counted=tuple(counted), lost=tuple(lost))


def _port(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:6]) <= _LARGEST_PORT:
        return _SSH_PORT
    return int(text)


def _set(connection: Connection, ids: Collection[int], values: Mapping[str, Any]) -> None:
    for chunk in _chunks(ids):
        connection.execute(update(subclouds).where(subclouds.c.id.in_(chunk)).values(**values))


def _turn(connection: Connection, ids: Collection[int], status: Availability, at: datetime) -> Iterator[str]:
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
