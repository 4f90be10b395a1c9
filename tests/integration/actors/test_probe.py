"""The availability probe against real sockets and a real database."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update

from db.database import Database
from db.schema import events, subclouds
from messages.serializers import NO_ERRORS
from simulator.site_spec import Fault, FaultKind, SiteSpec
from simulator.sites_api import ServedSite, serve_sites
from sites.availability_probe import AvailabilityProbe, ProbeRules, Site, classify, site_of
from sites.probes import ProbeAnswer, TcpProbe, tcp_probe_factory
from sites.sysinv.access import Access, Timeouts
from sites.sysinv.auth import SiteAccount, TlsTrust, TokenCache
from sites.sysinv.endpoints import SiteAddresses
from sites.sysinv.probe import sysinv_probe_factory
from tests.support.migrated_database import place_migrated
from tests.support.waiting import wait_for

RULES = ProbeRules(interval_s=0.05, failures=2, concurrency=10)
TCP = tcp_probe_factory(2)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(place_migrated(tmp_path / "probe.db"))
    yield database
    database.close()


@pytest.fixture
async def open_port() -> AsyncIterator[int]:
    """A port that answers."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: it is bound, so that nobody else gets it, and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def add(database: Database, name: str, *, status: str = "online", failures: int = 0, **connection: Any) -> None:
    """Register a site."""
    with database.write() as write:
        write.execute(
            insert(subclouds).values(
                name=name,
                group_id=1,
                software_version="22.12",
                management_state="managed",
                availability_status=status,
                deploy_status="complete",
                error_description=NO_ERRORS,
                region_name=name,
                openstack_installed=False,
                system_mode="simplex",
                oam_floating_ip=connection.pop("oam", None),
                management_alarms=0,
                connection=connection,
                probe_failures=failures,
                created_at=datetime.now(UTC),
            )
        )


def seen(database: Database, name: str) -> tuple[str, int]:
    """Return a site's availability and its failed probes."""
    query = select(subclouds.c.availability_status, subclouds.c.probe_failures).where(subclouds.c.name == name)
    with database.read() as connection:
        return tuple(connection.execute(query).one())


def told(database: Database) -> list[tuple[str, str]]:
    """Return type and subject of every event."""
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(events.c.type, events.c.subject).order_by(events.c.id))]


async def test_one_answer_makes_a_site_online(database: Database, open_port: int) -> None:
    """The first connection that is accepted is enough."""
    add(database, "site", status="offline", failures=1, ansible_host="127.0.0.1", ansible_port=open_port)

    await AvailabilityProbe(database, RULES, TCP).probe_once()

    assert ("online", 0) == seen(database, "site")
    assert [("subcloud.online", "subcloud/site")] == told(database)


async def test_failures_in_a_row_make_a_site_offline(database: Database, closed_port: int) -> None:
    """One failed probe is counted, as many as the rule says make the site offline, and that is told once."""
    add(database, "site", ansible_host="127.0.0.1", ansible_port=closed_port)
    probe = AvailabilityProbe(database, RULES, TCP)

    await probe.probe_once()
    assert ("online", 1) == seen(database, "site")
    assert [] == told(database)

    await probe.probe_once()
    await probe.probe_once()
    assert ("offline", 2) == seen(database, "site")
    assert [("subcloud.offline", "subcloud/site")] == told(database)


async def test_an_answer_between_failures_counts(database: Database, open_port: int) -> None:
    """Failures that are not in a row do not add up, and nothing is told of a site that stays online."""
    add(database, "site", failures=1, oam="127.0.0.1", ansible_port=str(open_port))

    await AvailabilityProbe(database, RULES, TCP).probe_once()

    assert ("online", 0) == seen(database, "site")
    assert [] == told(database)


async def test_silence_is_a_failure(database: Database) -> None:
    """A connection that is neither accepted nor refused in time has failed."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # Loopback accepts until the queue of the listener is full; what comes then hangs.
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        add(database, "site", ansible_host=address[0], ansible_port=address[1])
        rules = ProbeRules(interval_s=1, failures=1, concurrency=1)

        await AvailabilityProbe(database, rules, tcp_probe_factory(0.2)).probe_once()
        for one in waiting:
            one.close()

    assert ("offline", 1) == seen(database, "site")


async def test_only_changed_rows_are_written(database: Database, open_port: int, closed_port: int) -> None:
    """A round in which nothing changed writes nothing, however many sites there are."""
    add(database, "well", ansible_host="127.0.0.1", ansible_port=open_port)
    add(database, "gone", status="offline", failures=2, ansible_host="127.0.0.1", ansible_port=closed_port)
    statements: list[str] = []
    event.listen(database.writer_engine, "before_cursor_execute", lambda *heard: statements.append(heard[2]))

    await AvailabilityProbe(database, RULES, TCP).probe_once()

    assert [] == statements


async def test_a_round_is_one_transaction_of_set_statements(
    database: Database, open_port: int, closed_port: int
) -> None:
    """The number of statements does not grow with the number of sites."""
    for number in range(40):
        add(database, f"new-{number}", status="offline", ansible_host="127.0.0.1", ansible_port=open_port)
        add(database, f"lost-{number}", failures=1, ansible_host="127.0.0.1", ansible_port=closed_port)
        add(database, f"shaky-{number}", ansible_host="127.0.0.1", ansible_port=closed_port)
    statements: list[str] = []
    event.listen(database.writer_engine, "before_cursor_execute", lambda *heard: statements.append(heard[2]))

    await AvailabilityProbe(database, RULES, TCP).probe_once()

    assert len(statements) < 10
    assert 1 == sum(statement.startswith("BEGIN") for statement in statements)
    assert 80 == len(told(database))


async def test_sites_without_a_network_are_left_alone(database: Database) -> None:
    """A site of the local connection, and one without an address, keep the availability that was declared."""
    add(database, "local", ansible_connection="local", oam="127.0.0.1", ansible_port=1)
    add(database, "nowhere", status="offline")
    rules = ProbeRules(interval_s=1, failures=1, concurrency=1)

    await AvailabilityProbe(database, rules, TCP).probe_once()

    assert ("online", 0) == seen(database, "local")
    assert ("offline", 0) == seen(database, "nowhere")


async def test_what_an_operator_did_meanwhile_is_no_event(database: Database, open_port: int) -> None:
    """A site that somebody else made online during the round is not told a second time."""
    add(database, "site", status="offline", ansible_host="127.0.0.1", ansible_port=open_port)
    probe = AvailabilityProbe(database, RULES, TCP)
    answers = probe._ask

    async def answers_late(*arguments: Any) -> ProbeAnswer:
        with database.write() as connection:
            connection.execute(update(subclouds).values(availability_status="online"))
        return await answers(*arguments)

    probe._ask = answers_late
    await probe.probe_once()

    assert ("online", 0) == seen(database, "site")
    assert [] == told(database)


async def test_a_broken_round_does_not_end_the_probe(database: Database, open_port: int) -> None:
    """The probe goes on after a round that failed, until it is cancelled."""
    add(database, "site", status="offline", ansible_host="127.0.0.1", ansible_port=open_port)
    probe = AvailabilityProbe(database, RULES, TCP)
    read = probe._read
    calls: list[int] = []

    def read_at_second_try() -> list[Any]:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the disk is away")
        return read()

    probe._read = read_at_second_try
    task = asyncio.create_task(probe.run())
    await asyncio.to_thread(wait_for, lambda: seen(database, "site") == ("online", 0), 20)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("port", "wanted"), [(None, 22), ("2222", 2222), (0, 22), (70000, 22), ("{{ x }}", 22), (True, 22)]
)
def test_port(port: object, wanted: int) -> None:
    """A port that is none is the port of SSH."""
    row = {
        "id": 1,
        "oam_floating_ip": "10.0.0.1",
        "connection": {} if port is None else {"ansible_port": port},
        "availability_status": "online",
        "probe_failures": 0,
        "prestage_status": None,
    }
    site = site_of(row, TCP)

    assert site is not None
    assert TcpProbe(host="10.0.0.1", port=wanted, timeout_s=2) == site.probe


async def test_a_name_that_cannot_be_looked_up_fails(database: Database) -> None:
    """A host name that no resolver takes is a failed probe, not a broken round."""
    add(database, "site", ansible_host="a" * 70 + ".example")
    rules = ProbeRules(interval_s=1, failures=1, concurrency=1)

    await AvailabilityProbe(database, rules, TCP).probe_once()

    assert ("offline", 1) == seen(database, "site")


def test_nothing_to_judge() -> None:
    """No site, no change."""
    changes = classify([], [], 1)

    assert ((), (), ()) == (changes.good, changes.counted, changes.lost)


def sites(*states: str) -> list[Site]:
    """Return sites of these states, numbered from 0, that have failed once."""
    probe = TcpProbe(host="h", port=1, timeout_s=1)
    return [
        Site(id=number, probe=probe, availability_status=state, probe_failures=1) for number, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("states", "answers", "lost"),
    [
        (["online"] * 3, [ProbeAnswer.SILENT] * 3, ()),
        (["online"] * 3, [ProbeAnswer.SILENT, ProbeAnswer.SILENT, ProbeAnswer.UNSURE], ()),
        (["online"] * 2 + ["offline"], [ProbeAnswer.SILENT] * 3, (0, 1)),
        (["online"] * 2, [ProbeAnswer.SILENT] * 2, (0, 1)),
        (["online"] * 4, [ProbeAnswer.SILENT] * 3 + [ProbeAnswer.BAD], (0, 1, 2, 3)),
        (["online"] * 3 + ["offline"], [ProbeAnswer.SILENT] * 3 + [ProbeAnswer.GOOD], (0, 1, 2)),
        (["online"] * 2, [ProbeAnswer.UNSURE, ProbeAnswer.BAD], (1,)),
    ],
    ids=["all", "all-or-unsure", "two-and-offline", "two", "one-answers", "offline-answers", "unsure"],
)
def test_faults_of_ours_make_nobody_offline(
    states: list[str], answers: list[ProbeAnswer], lost: tuple[int, ...]
) -> None:
    """When no site of several gives any answer the network is ours; what says nothing of a site never counts."""
    assert lost == classify(sites(*states), answers, 2).lost


class TestSysinv:
    @pytest.fixture
    async def served(self) -> AsyncIterator[ServedSite]:
        async with serve_sites([SiteSpec(name="site")]) as sites:
            yield sites["site"]

    @pytest.fixture
    def probe(self, database: Database, served: ServedSite, tmp_path: Path) -> AvailabilityProbe:
        urls = tmp_path / "urls.toml"
        urls.write_text(f'[site]\nkeystone = "{served.keystone_url}"\nsysinv = "{served.sysinv_url}"\n')
        account = SiteAccount(
            username="dcmanager",
            password=served.spec.account.password,
            project="services",
            user_domain="Default",
            project_domain="Default",
        )
        access = Access(account=account, trust=TlsTrust(), timeouts=Timeouts(tries=1), tokens=TokenCache())
        return AvailabilityProbe(database, RULES, sysinv_probe_factory(access, SiteAddresses(file=urls), 0.5))

    async def test_active_groups_make_a_site_online(
        self, database: Database, probe: AvailabilityProbe, served: ServedSite
    ) -> None:
        """One good answer brings a site online; the token of the first round serves the second."""
        add(database, "site", status="offline", failures=2)
        add(database, "nowhere")
        await probe.probe_once()
        await probe.probe_once()

        assert [("online", 0), ("online", 0)] == [seen(database, name) for name in ("site", "nowhere")]
        assert (1, 2) == (served.spec.requests["login"], served.spec.requests["servicegroup"])

    @pytest.mark.parametrize(
        ("runs", "ends"), [("22.12", False), ("23.09", True), (None, False)], ids=["same", "other", "not told"]
    )
    async def test_a_version_that_a_probe_finds_ends_what_was_staged(
        self, database: Database, probe: AvailabilityProbe, served: ServedSite, runs: str | None, ends: bool
    ) -> None:
        """A site that runs another version than when it was staged shows nothing as staged, once and with an event."""
        add(database, "site")
        shown = {"prestage_status": "complete", "prestage_versions": "23.09", "prestage_from_version": "22.12"}
        with database.write() as write:
            write.execute(update(subclouds).values(**shown))
        if runs is None:
            served.spec.faults["isystems"] = Fault(kind=FaultKind.UNAVAILABLE)
        else:
            served.spec.software_version = runs
        for _ in range(2):
            await probe.probe_once()

        with database.read() as connection:
            row = connection.execute(select(subclouds.c.prestage_status, subclouds.c.prestage_versions)).one()
        assert ((None, None) if ends else ("complete", "23.09")) == tuple(row)
        assert ([("subcloud.updated", "subcloud/site")] if ends else []) == told(database)
        assert ("online", 0) == seen(database, "site")
        assert (1 if ends else 2) == served.spec.requests["isystems"]

    async def test_only_sites_with_something_staged_are_asked_for_their_version(
        self, database: Database, probe: AvailabilityProbe, served: ServedSite
    ) -> None:
        """A probe asks for no more than it needs: the version of a site that shows nothing as staged is not read."""
        add(database, "site")
        await probe.probe_once()

        assert 0 == served.spec.requests["isystems"]

    @pytest.mark.parametrize("fault", ["group", "refused", FaultKind.UNAVAILABLE, FaultKind.NOT_JSON, FaultKind.SLOW])
    async def test_two_failures_in_a_row_make_it_offline(
        self, database: Database, probe: AvailabilityProbe, served: ServedSite, fault: str
    ) -> None:
        """A group that is nowhere active, silence and any error are failures; two in a row count."""
        add(database, "site")
        if fault == "group":
            served.spec.service_groups["vim-services"] = {"controller-0": "disabled"}
        elif fault == "refused":
            await served.refuse()
        else:
            served.spec.faults["servicegroup"] = Fault(kind=FaultKind(fault), delay_s=30 * (fault == FaultKind.SLOW))
        await probe.probe_once()
        assert ("online", 1) == seen(database, "site")
        await probe.probe_once()

        assert ("offline", 2) == seen(database, "site")

    @pytest.mark.parametrize("operation", ["login", "servicegroup"])
    @pytest.mark.parametrize("kind", [FaultKind.UNAUTHORIZED, FaultKind.FORBIDDEN])
    async def test_a_refused_account_makes_nobody_offline(
        self, database: Database, probe: AvailabilityProbe, served: ServedSite, operation: str, kind: FaultKind
    ) -> None:
        """Our own login says nothing of the site: nothing is counted, as often as it is refused."""
        add(database, "site", failures=1)
        served.spec.faults[operation] = Fault(kind=kind)
        for _ in range(3):
            await probe.probe_once()

        assert ("online", 1) == seen(database, "site")
