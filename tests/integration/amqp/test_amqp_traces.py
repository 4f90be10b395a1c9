"""Traces over everything: a real exporter and collector, RabbitMQ between API, coordinator and worker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import Request, urlopen

import pika
import pytest
from aiohttp import web
from sqlalchemy import select

from api.app import create_app
from api.auth import TokenAuthenticator
from api.docs_routes import Documents
from api.server import create_runner
from apidocs.openapi.assembly import make_documents
from broker.amqp.topology import EVENTS
from db.schema import events, outbox, runs, steps, strategies
from db.tokens import TokenStore
from messages.commands import Command, CommandType
from runner.fake import FakeRunEnd
from runner.interface import PlaybookJob
from runner.progress import TaskEnd, TaskTime
from service.roles import ProcessRole
from statemachine.states import RunOutcome
from tests.support.fake_playbooks import FakePlaybooks
from tests.support.installation import Installation, StartedInstallation
from tests.support.otlp_collector import Collector, Received
from tests.support.virtual_host import Requester, VirtualHost, command_event
from tests.support.waiting import BUSY_FACTOR, wait_for

HERE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PHASES = ["prestage-precheck", "prestage-prepare", "prestaging-packages", "prestaging-images"]
PASSWORD = "hush-2f7c"


def decide(job: PlaybookJob) -> FakeRunEnd:
    """Fail at one site."""
    fails = job.host == "broken" and job.playbook.stem == "prestage_sw_packages"
    return (
        FakeRunEnd(outcome=RunOutcome.FAILED, details="no space left on broken") if fails else FakeRunEnd(delay_s=0.002)
    )


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Give a collector that listens."""
    with Collector() as collector:
        yield collector


def traced(collector: Collector) -> dict[str, Any]:
    """Return the settings of a traced process."""
    return {"tracing": "otlp", "tracing_endpoint": collector.endpoint}


def end(*installations: StartedInstallation) -> None:
    """Stop processes and have them hand on their spans."""
    for installation in installations:
        installation.stop()
        installation.process.tracer.stop()


def with_images(directory: Path) -> None:
    """Give the release an image list, so that there is a fourth phase to run."""
    (directory / "deploy" / "23.09").mkdir(parents=True)
    (directory / "deploy" / "23.09" / "prestage_images_list.txt").touch()


def is_over(installation: StartedInstallation) -> bool:
    """Tell whether the strategy has ended."""
    return installation.rows(strategies)[-1]["state"] in {"complete", "failed", "aborted"}


def children(spans: list[Received], parent: Received) -> dict[str, Received]:
    """Return the spans below one by their names."""
    return {span.name: span for span in spans if span.parent == parent.id}


@contextmanager
def http(installation: StartedInstallation) -> Iterator[Callable[..., tuple[int, Mapping[str, str]]]]:
    """Serve the API of a process and give what sends a request to it."""
    process = installation.process
    store = TokenStore(process.database)
    token = store.create_token("me", "admin")

    async def start() -> web.AppRunner:
        async def ready() -> Mapping[str, str | None]:
            return {}

        app = create_app(
            documents=Documents(make_documents),
            database=process.database,
            transport=installation.transport,
            sealer=process.sealer,
            authenticator=TokenAuthenticator(store),
            readiness=ready,
            tracer=process.tracer,
        )
        runner = create_runner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = installation.loop.do(start())
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"

    def send(method: str, path: str, body: dict[str, Any], **headers: str) -> tuple[int, Mapping[str, str]]:
        request = Request(base + path, json.dumps(body).encode(), {"X-Auth-Token": token, **headers}, method=method)
        with urlopen(request, timeout=30) as response:
            return response.status, response.headers

    try:
        yield send
    finally:
        installation.loop.do(runner.cleanup())


def test_a_standalone_prestage_is_one_trace_from_http_to_its_last_phase(
    start: Callable[..., StartedInstallation], collector: Collector, host: VirtualHost
) -> None:
    """The caller's trace goes on through API, RabbitMQ, coordinator and worker; each message and event carries it."""
    options = traced(collector)
    api = start(roles=frozenset({ProcessRole.API}), **options)
    coordinator = start(roles=frozenset({ProcessRole.COORDINATOR}), **options)
    worker = start(roles=frozenset({ProcessRole.WORKER}), **options)
    assert 200 == api.add_site("edge").status
    with host.channel() as channel, http(api) as send:
        heard = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(heard, EVENTS, "step.#")
        body = {"sysadmin_password": "aHVzaC0yZjdj"}
        status, headers = send("PATCH", "/v1.0/subclouds/edge/prestage", body, traceparent=HERE)
        wait_for(lambda: worker.step("edge")["state"] == "complete")
        wait_for(lambda: all(row["published"] for row in worker.rows(events)))
        messages = []
        while (message := channel.basic_get(heard, auto_ack=True))[0] is not None:
            messages.append(message)
    end(api, worker, coordinator)

    assert 200 == status
    mine = [span for span in collector.spans if span.trace == HERE[3:35]]
    (request,) = [span for span in mine if span.parent == HERE[36:52]]
    assert ("PATCH /v1.0/subclouds/{ref}/prestage", "api") == (request.name, request.role)
    assert f"00-{request.trace}-{request.id}-01" == headers["traceresponse"]
    publish = children(mine, request)["publish prestager.commands"]
    execute = children(mine, publish)["execute subcloud.prestage"]
    assert "coordinator" == execute.role
    phases = {span.attributes["prestager.phase"]: span for span in mine if span.name.startswith("phase ")}
    assert set(PHASES) == set(phases)
    for name, phase in phases.items():
        assert execute.id == phase.parent
        below = children(mine, phase)
        work = "inspect site" if name == "prestage-precheck" else "run playbook"
        sent = next(span for span_name, span in below.items() if span_name.startswith("publish "))
        assert {"dispatch", "wait for a worker", work, "report", "conclude", sent.name} == set(below)
        assert {"coordinator"} == {below[part].role for part in ("dispatch", "conclude", sent.name)} | {phase.role}
        assert {"worker"} == {below[part].role for part in ("wait for a worker", work, "report")}
        assert ["worker"] == [span.role for span in children(mine, sent).values()]
        assert phase.began_at <= below[work].began_at <= below[work].ended_at <= phase.ended_at
        told = children(mine, below["report"])["publish prestager.coordinator"]
        assert "coordinator" == children(mine, told)["process coordinate"].role
    assert 5 < len(messages)
    for _, properties, content in messages:
        traceparent = json.loads(content)["traceparent"]
        assert HERE[3:35] == traceparent[3:35]
        assert traceparent == properties.headers["traceparent"]


class TestForeignPublishers:
    def test_their_trace_goes_on(
        self, start: Callable[..., StartedInstallation], collector: Collector, requester: Requester
    ) -> None:
        """By the header, and without one by CloudEvents' attribute; the answer carries it too."""
        installation = start(**traced(collector))
        inner = {**command_event("group.create", "1", name="a", description="a"), "traceparent": HERE}
        assert 200 == requester.ask(inner).status
        other = HERE.replace("0af7", "1af7")
        requester.send({**inner, "id": "2"}, headers={"traceparent": other})
        answered = wait_for(lambda: _next(requester))
        end(installation)

        by_trace = {span.trace: span for span in collector.named("execute group.create")}
        assert {HERE[3:35], other[3:35]} == set(by_trace)
        assert HERE[36:52] == by_trace[HERE[3:35]].parent
        assert other == answered.headers["traceparent"]

    def test_nonsense_is_as_if_it_were_not_there(
        self, start: Callable[..., StartedInstallation], collector: Collector, requester: Requester
    ) -> None:
        """A traceparent that is none neither stops the command nor shows up anywhere."""
        installation = start(**traced(collector))
        event = {**command_event("group.create", "1", name="a", description="a"), "traceparent": {"no": "thing"}}
        assert 200 == requester.ask(event, headers={"traceparent": 7}).status
        end(installation)

        (execute,) = collector.named("execute group.create")
        assert "" == execute.parent


def _next(requester: Requester) -> pika.BasicProperties | None:
    _, properties, _ = requester.channel.basic_get(requester.queue, auto_ack=True)
    return properties


def test_each_phase_of_a_strategy_is_a_trace_of_its_own(collector: Collector, tmp_path: Path) -> None:
    """It is linked to the trace of the command that applied the strategy, and shows what failed; no secret is in it."""
    with_images(tmp_path)
    installation = Installation.embedded(tmp_path, playbooks=FakePlaybooks(decide), **traced(collector))
    for name in ("fine", "broken"):
        installation.add_site(name)
    assert 200 == installation.create(password=PASSWORD).status
    apply = Command(type=CommandType.STRATEGY_APPLY, data={"type": "prestage"}, traceparent=HERE)
    assert 200 == installation.execute(apply).status
    wait_for(lambda: is_over(installation))
    strategy, stored = installation.rows(strategies)[-1], installation.rows(runs)
    end(installation)

    phases = [span for span in collector.spans if span.name.startswith("phase ")]
    # One preparation for both.
    assert 2 + 1 + 2 + 1 == len(phases)
    assert len(phases) == len({span.trace for span in phases})
    assert {(HERE[3:35],)} == {span.links for span in phases}
    assert {f"00-{span.trace}-{span.id}-01" for span in phases} == {row["trace"] for row in stored}
    (failed,) = [span for span in phases if span.failure is not None]
    assert "no space left on broken" == failed.failure
    wanted = {
        "prestager.strategy.id": strategy["id"],
        "prestager.subcloud.name": "broken",
        "prestager.phase": "prestaging-packages",
        "prestager.attempt": 1,
        "prestager.outcome": "failed",
    }
    assert wanted.items() <= failed.attributes.items()
    assert "no space left on broken" == collector.trace(failed.trace)["run playbook"].failure
    assert PASSWORD.encode() not in collector.raw


def test_the_collector_gets_what_it_wants_to_see(collector: Collector, tmp_path: Path) -> None:
    """Headers come from the file, at the path of OTLP; a part of the traces is a part."""
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer abc\n")
    installation = Installation.embedded(tmp_path, **traced(collector), tracing_headers_file=file)
    installation.add_group("a")
    end(installation)
    silent = Installation.embedded(tmp_path, **traced(collector), tracing_ratio=0)
    silent.add_group("b")
    before = len(collector.requests)
    end(silent)

    assert {("/v1/traces", "Bearer abc")} == {(one["path"], one["authorization"]) for one in collector.requests}
    assert before == len(collector.requests)


@pytest.mark.parametrize("kind", ["refuses", "is silent"])
def test_a_collector_that_is_away_costs_no_time(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The service answers as without traces, and stops within seconds; the fault is one line."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if kind == "is silent":
            server.listen(50)
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        installation = Installation.embedded(tmp_path, tracing="otlp", tracing_endpoint=endpoint)
        for number in range(30):
            began = monotonic()
            assert 200 == installation.add_group(f"g{number}").status
            assert monotonic() - began < 2 * BUSY_FACTOR
        installation.stop()
        began = monotonic()
        installation.process.tracer.stop()

        assert monotonic() - began < 3 * BUSY_FACTOR
        assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


def test_off_costs_nothing(tmp_path: Path) -> None:
    """By default nothing of OpenTelemetry is loaded, and nothing of a trace is stored, whatever callers send."""
    installation = Installation.embedded(tmp_path)
    installation.add_site("edge")
    assert 200 == installation.create().status
    apply = Command(type=CommandType.STRATEGY_APPLY, data={"type": "prestage"}, traceparent=HERE)
    assert 200 == installation.execute(apply).status
    wait_for(lambda: is_over(installation))
    installation.stop()
    with installation.database.read() as connection:
        for table in (strategies, steps, runs, outbox, events):
            assert [] == connection.execute(select(table.c.id).where(table.c.trace.is_not(None))).all()

    imports = "import sys, cli.main, service.process, service.dramatiq_process"
    program = f"{imports}; sys.exit('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], env={"PATH": os.environ["PATH"]}, check=False)

    assert 0 == done.returncode


def test_tasks_of_a_playbook_are_below_it(collector: Collector, tmp_path: Path) -> None:
    """With their names, times and results; a failed one is a failure."""
    times = (
        TaskTime(name="Look", began_at=1000.0, ended_at=1002.5, result=TaskEnd.OK),
        TaskTime(name="Take", began_at=1002.5, ended_at=1003.0, result=TaskEnd.FAILED),
    )
    installation = Installation.embedded(
        tmp_path, playbooks=FakePlaybooks(lambda _: FakeRunEnd(tasks=times)), **traced(collector)
    )
    installation.add_site("edge")
    assert 200 == installation.ask(CommandType.SUBCLOUD_PRESTAGE, subject="edge").status
    wait_for(lambda: installation.step("edge")["state"] == "complete")
    end(installation)

    looks, takes = collector.named("task Look"), collector.named("task Take")
    works = {span.id for span in collector.named("run playbook")}
    assert {span.parent for span in looks} <= works
    assert {(1000.0, 1002.5, "ok", None)} == {_told(span) for span in looks}
    assert {(1002.5, 1003.0, "failed", "The task failed.")} == {_told(span) for span in takes}


def _told(span: Received) -> tuple[float, float, str, str | None]:
    return span.began_at, span.ended_at, span.attributes["prestager.task.result"], span.failure
