"""Broker and database restart, take deliveries back, and stay away, while playbooks run."""

from __future__ import annotations

import sys
from functools import partial
from threading import Event
from time import monotonic

import pytest
from sqlalchemy import select

from broker.amqp.topology import dead_letters_of
from db.schema import runs
from messages.queues import COMMANDS
from statemachine.snapshot import LEASE_S
from tests.faults.fault_caller import calling
from tests.faults.fault_checks import restarts, violations
from tests.faults.fault_installation import ACCEPTED_AGAIN_S, LONG, FaultInstallation, NewInstallation, scaled, seeded
from tests.support.installation_processes import START_S
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

SITES = scaled(3, 6)
only_long = pytest.mark.skipif(not LONG, reason="lasts longer than a lease: make faults")


def held(installation: FaultInstallation) -> FaultInstallation:
    """Start everything, and a strategy whose playbooks are all at work and stay so."""
    installation.launch()
    installation.add_sites(SITES)
    hold(installation)
    return installation


def hold(installation: FaultInstallation) -> None:
    """Start a strategy whose playbooks are all at work and stay so."""
    installation.apply_strategy(SITES)
    wait_for(lambda: installation.begun() == SITES, START_S, installation.story)


def dead_letters(rabbitmq: StrictRabbitmq) -> list[str]:
    """Return the queues of dead letters that hold any; not of commands, which expire when nobody takes them."""
    kept = [name for name, queue in rabbitmq.queues().items() if name.endswith(".XQ") and queue.ready_count]
    return [name for name in kept if name != dead_letters_of(COMMANDS)]


@pytest.mark.timeout(900)
def test_restarts_of_broker_and_database_cost_nothing(
    new_installation: NewInstallation, rabbitmq: StrictRabbitmq, postgres: PostgresServer
) -> None:
    """The broker ends by TERM and by KILL and the database without a farewell, under running playbooks.

    None of them fails or begins again, and commands are accepted within 10 s of the server being up.
    """
    moments = seeded()
    installation = held(new_installation(seconds=None, SLOTS=SITES))
    # How it goes down, and whose start brings it up.
    falls = {
        "broker TERM": (rabbitmq.stop, rabbitmq.start),
        "broker KILL": (rabbitmq.kill, rabbitmq.start),
        "database immediate": (partial(postgres.stop, "immediate"), postgres.start),
        "database KILL": (postgres.kill, postgres.start),
    }
    waits: dict[str, float] = {}
    with calling(installation) as caller:
        for round_ in range(scaled(1, 3)):
            if round_:
                hold(installation)
            names = list(falls)
            moments.shuffle(names)
            for place, name in enumerate(names):
                if place == len(names) - 1:
                    # Results that come while a server is away are kept until it is back.
                    installation.release()
                Event().wait(moments.uniform(0.0, 1.0))
                go_down, come_up = falls[name]
                go_down()
                come_up()
                up_at = monotonic()
                wait_s = wait_for(partial(caller.accepted_after, up_at), START_S, installation.story)
                waits[name] = max(wait_s, waits.get(name, 0.0))

            assert "complete" == installation.wait_for_end()
            assert [] == restarts(installation)
    sys.stdout.write("accepted again, s: " + ", ".join(f"{name} {wait:.1f}" for name, wait in waits.items()) + "\n")

    assert [] == violations(installation, caller)
    assert [] == [name for name, wait in waits.items() if wait > ACCEPTED_AGAIN_S]
    assert [] == dead_letters(rabbitmq)


@pytest.mark.timeout(600)
def test_a_broker_that_takes_deliveries_back_doubles_nothing(
    new_installation: NewInstallation, rabbitmq: StrictRabbitmq
) -> None:
    """With consumer_timeout of 5 s, playbooks of 12 s run once, also those that wait for a slot meanwhile."""
    slots = scaled(2, SITES // 3)
    installation = new_installation(seconds=12, SLOTS=slots)
    installation.launch()
    installation.add_sites(scaled(2, SITES))
    installation.apply_strategy(SITES)

    assert "complete" == installation.wait_for_end()
    assert [] == restarts(installation)
    assert [] == violations(installation)
    assert {"worker-a": 0, "coordinator": 0} == {
        name: installation.parts[name].said("PRECONDITION_FAILED") for name in ("worker-a", "coordinator")
    }
    assert [] == dead_letters(rabbitmq)


@only_long
@pytest.mark.timeout(600)
def test_an_outage_of_15_s_stops_no_playbook(new_installation: NewInstallation, postgres: PostgresServer) -> None:
    """Leases that could not be renewed for a while are renewed in time."""
    installation = held(new_installation(seconds=None, SLOTS=SITES))
    postgres.stop("immediate")
    Event().wait(15)
    postgres.start()
    # Until the lease of the last renewal before the outage would be over.
    Event().wait(LEASE_S - 15)
    installation.release()

    assert "complete" == installation.wait_for_end()
    assert [] == restarts(installation)


@only_long
@pytest.mark.timeout(600)
def test_an_outage_longer_than_a_lease_stops_the_playbooks_before_its_end(
    new_installation: NewInstallation, postgres: PostgresServer
) -> None:
    """A worker that cannot renew stops its playbooks before their leases end; afterwards they are done again."""
    installation = held(new_installation(seconds=None, SLOTS=SITES))
    (worker,) = installation.workers
    assert worker.works()

    postgres.stop("immediate")
    gone_at = monotonic()
    try:
        # The last renewal was at the latest when the database went; so its lease ends at the latest then.
        wait_for(lambda: not worker.works(), LEASE_S, installation.story)
        stopped_s = monotonic() - gone_at
        Event().wait(LEASE_S + 5.0 - stopped_s)
    finally:
        postgres.start()
    installation.release()
    sys.stdout.write(f"stopped after {stopped_s:.1f} s\n")

    assert "complete" == installation.wait_for_end()
    assert [] == violations(installation)
    assert {"lost", "succeeded"} == {row.outcome for row in installation.rows(select(runs.c.outcome))}
