"""Hints to workers: who hears them, and what a worker that drains does."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from threading import Event

import pytest

from broker.amqp import worker_control as control
from broker.amqp.errors import BrokerUnavailableError, ControlError
from broker.amqp.topology import CONTROL
from broker.amqp.worker_control import Hint, HintAnswer, HintKind, ask_workers
from db.heartbeats import all_processes
from db.schema import steps, strategies
from runner.fake import FakeRunEnd
from runner.interface import PlaybookJob
from service.roles import ProcessRole
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import StartedInstallation
from tests.support.tcp_proxy import HOST, TcpProxy
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

WORKER = frozenset({ProcessRole.WORKER})
NOT_WORKER = frozenset({ProcessRole.COORDINATOR})


@pytest.fixture
def gate() -> Iterator[Event]:
    """Give what playbooks wait for."""
    gate = Event()
    yield gate
    gate.set()


def asked(host: VirtualHost, worker: str | None, kind: HintKind = "drain") -> list[HintAnswer]:
    """Return what workers say to a request to drain; nothing when nobody is connected."""
    try:
        return ask_workers(host.url(), Hint(kind=kind, worker=worker))
    except ControlError:
        return []


def control_queues(host: VirtualHost) -> list[str]:
    """Return the workers' queues."""
    return [name for name in host.server.queues(host.name) if name.startswith(f"{CONTROL}.")]


def reported_draining(installation: StartedInstallation) -> list[bool]:
    """Return what the workers' heartbeats say."""
    with installation.process.database.read() as connection:
        return [row["draining"] for row in all_processes(connection) if row["slots"] is not None]


def test_a_draining_worker_finishes_and_takes_nothing(
    host: VirtualHost, start: Callable[..., StartedInstallation], gate: Event
) -> None:
    """A worker that drains finishes its playbooks and takes no more; another one does the rest."""
    first_jobs: list[PlaybookJob] = []

    def held(job: PlaybookJob) -> FakeRunEnd:
        first_jobs.append(job)
        gate.wait(60)
        return FakeRunEnd(delay_s=0.0)

    installation = start(roles=NOT_WORKER)
    start(roles=WORKER, worker_name="first", playbooks=FakePlaybooks(held), slots=1)
    installation.add_site("a")
    installation.add_site("b")
    installation.create()
    installation.verb("apply")
    wait_for(lambda: first_jobs and control_queues(host))

    assert [HintAnswer(worker="first", running=1)] == asked(host, "first")
    start(roles=WORKER, worker_name="second")
    gate.set()
    wait_for(lambda: installation.rows(strategies)[0]["state"] == "complete")

    assert ["complete", "complete"] == [row["state"] for row in installation.rows(steps)]
    assert 1 == len(first_jobs)


def test_an_undrained_worker_takes_runs_again(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """What waited while a worker drained is done once it is undrained; repeating it changes nothing."""
    installation = start(roles=NOT_WORKER)
    worker = start(roles=WORKER, worker_name="first")
    wait_for(lambda: control_queues(host))
    asked(host, "first")
    installation.add_site("a")
    installation.create()
    installation.verb("apply")
    wait_for(lambda: reported_draining(installation) == [True])
    before = worker.process.worker.is_draining

    assert [HintAnswer(worker="first", running=0)] == asked(host, "first", "undrain")
    wait_for(lambda: installation.rows(strategies)[0]["state"] == "complete")
    wait_for(lambda: reported_draining(installation) == [False])
    assert ["first"] == [answer.worker for answer in asked(host, None, "undrain")]
    assert (True, False) == (before, worker.process.worker.is_draining)


def test_a_worker_that_stops_is_not_undrained(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """A hint that comes while a process stops does not have it take runs again."""
    installation = start(roles=WORKER, worker_name="first")
    worker = installation.process.worker
    worker.end()

    worker.undrain()

    assert worker.is_draining


def test_only_who_is_meant(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """Each worker alive has a queue; a hint for one is heard by that one, a hint for all by all."""
    start(roles=WORKER, worker_name="first")
    start(roles=WORKER, worker_name="second")
    wait_for(lambda: len(control_queues(host)) == 2)

    assert ["second"] == [answer.worker for answer in asked(host, "second")]
    assert [] == asked(host, "third")
    assert ["first", "second"] == [answer.worker for answer in asked(host, None)]


def test_nobody_there(host: VirtualHost) -> None:
    """Without a connected worker, and without a broker, the one who asks is told so."""
    with pytest.raises(ControlError, match="no worker is connected"):
        ask_workers(host.url(), Hint(kind="drain"))
    with pytest.raises(BrokerUnavailableError, match="nothing listens at this port"):
        ask_workers("amqp://127.0.0.1:1/", Hint(kind="drain"))


def test_a_broker_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks a broker that never answers is told so."""
    monkeypatch.setattr(control, "_TIMEOUT_S", 0.3)
    with socket.create_server((HOST, 0)) as silent, pytest.raises(BrokerUnavailableError, match="does not answer"):
        ask_workers(f"amqp://{HOST}:{silent.getsockname()[1]}/", Hint(kind="drain"))


def test_hints_are_heard_again_after_a_cut(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """A worker whose connection broke listens again by itself, by one queue."""
    with TcpProxy(host.server.port) as proxy:
        start(roles=WORKER, worker_name="first", url=host.url(proxy.port))
        wait_for(lambda: control_queues(host))
        proxy.reset()
        wait_for(lambda: not control_queues(host))
        proxy.pass_on()

        wait_for(lambda: [HintAnswer(worker="first", running=0)] == asked(host, None))
        assert 1 == len(control_queues(host))


def test_what_is_no_hint(host: VirtualHost, start: Callable[..., StartedInstallation]) -> None:
    """A message that is no hint is dropped, and the next hint is heard."""
    start(roles=WORKER, worker_name="first")
    wait_for(lambda: control_queues(host))
    with host.channel() as channel:
        for body in (b"", b"[]", b'{"kind": "dance"}', b"\xff"):
            channel.basic_publish(CONTROL, "", body)

    assert ["first"] == [answer.worker for answer in asked(host, "first")]
