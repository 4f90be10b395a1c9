"""Our Prometheus configuration, alerts and dashboards against a real Prometheus, a real RabbitMQ and a real service."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from messages.queues import WORKER_QUEUES
from monitoring.http_server import Health
from service.monitoring import is_alive, monitoring
from statemachine.states import PHASES
from tests.support.installation import StartedInstallation
from tests.support.prometheus_server import CONFIGURATION, Prometheus, prometheus_asking
from tests.support.tcp_proxy import HOST, free_port
from tests.support.virtual_host import VirtualHost
from tests.support.waiting import wait_for

SETTINGS = CONFIGURATION.parent / "rabbitmq" / "10-prestager.conf"
PLUGINS = CONFIGURATION.parent / "rabbitmq" / "enabled_plugins"


def committed_settings() -> dict[str, str]:
    """Return what our RabbitMQ's configuration says of the exporter."""
    found = re.findall(r"^prometheus\.(\w+) = (\w+)$", SETTINGS.read_text(), re.MULTILINE)
    return dict(found)


@pytest.fixture
def watched(start: Callable[..., StartedInstallation]) -> Iterator[str]:
    """Give the address of the metrics of a service that has taken a strategy to its end."""
    port = free_port()
    installation = start(monitor_listen=f"{HOST}:{port}")
    stack = AsyncExitStack()

    async def ready() -> dict[str, str | None]:
        return {}

    health = Health(alive=is_alive, ready=ready, started=lambda: True)
    installation.loop.do(stack.enter_async_context(monitoring(installation.process, health, f"{HOST}:{port}")))
    for name in ("edge-1", "edge-2"):
        installation.add_site(name)
    assert [200, 200] == [installation.create().status, installation.verb("apply").status]
    wait_for(lambda: {"complete"} == {installation.step(name)["state"] for name in ("edge-1", "edge-2")})
    # There is no HTTP API in this process, and no webhook.
    installation.process.metrics.request_answered("GET", "/v1.0/subclouds", 200, 0.01)
    installation.process.metrics.webhook_tried("delivered")
    yield f"{HOST}:{port}"
    installation.loop.do(stack.aclose())


@pytest.fixture
def prometheus(host: VirtualHost, watched: str, tmp_path: Path) -> Iterator[Prometheus]:
    """Give a Prometheus that both have answered twice."""
    if shutil.which("prometheus") is None:
        pytest.fail("prometheus is not installed: bin/setup test")
    exporter = f"{HOST}:{host.server.serve_metrics(**committed_settings())}"
    targets = {"prestager": {watched: "coordinator"}, "rabbitmq": {exporter: "rabbitmq"}}
    with prometheus_asking(tmp_path, targets) as prometheus:
        wait_for(lambda: answered_twice(prometheus), story=lambda: str(prometheus.ask("targets")["activeTargets"]))
        yield prometheus


def answered_twice(prometheus: Prometheus) -> bool:
    """Tell whether every target has answered twice, which rates need; `up` is 0 where one was asked in vain."""
    found = prometheus.ask("query", query="min(sum_over_time(up[1m])) and count(up == 1) == 2")["result"]
    return bool(found) and float(found[0]["value"][1]) >= 2


def health_of_targets(prometheus: Prometheus) -> dict[str, str]:
    """Return how the last scrape of each job ended."""
    return {target["labels"]["job"]: target["health"] for target in prometheus.ask("targets")["activeTargets"]}


def panels(name: str) -> list[dict[str, Any]]:
    """Return the panels of a dashboard."""
    found: list[dict[str, Any]] = json.loads((CONFIGURATION / "grafana" / f"{name}.json").read_text())["panels"]
    return found


def shown(prometheus: Prometheus) -> Iterator[tuple[str, dict[str, str], list[dict[str, Any]]]]:
    """Ask what every panel asks: its title, its query and what is shown for it."""
    for panel in (*panels("prestager"), *panels("rabbitmq")):
        for target in panel["targets"]:
            yield panel["title"], target, prometheus.ask("query", query=target["expr"])["result"]


def empty_panels(prometheus: Prometheus) -> list[tuple[str, str]]:
    """Return the titles and queries that show nothing."""
    return [(title, target["expr"]) for title, target, series in shown(prometheus) if not series]


def nameless_series(prometheus: Prometheus) -> list[tuple[str, dict[str, str]]]:
    """Return the titles and labels of the series that lack a label which their name is made of."""
    return [
        (title, series["metric"])
        for title, target, found in shown(prometheus)
        for series in found
        if set(re.findall(r"{{(\w+)}}", target["legendFormat"])) - set(series["metric"])
    ]


def test_what_we_ship_works_with_a_real_prometheus(prometheus: Prometheus) -> None:
    """All targets are up, rules have no error, panels show something under full names; failures count from zero.

    One test for all, for what it needs takes seconds to start.
    """
    wait_for(lambda: {"prestager": "up", "rabbitmq": "up"} == health_of_targets(prometheus))
    (group,) = prometheus.ask("rules")["groups"]
    wait_for(lambda: all(rule["health"] == "ok" for rule in prometheus.ask("rules")["groups"][0]["rules"]))
    assert len(group["rules"]) > 5
    # A scrape that a busy machine was late for ends every series until the next one.
    wait_for(lambda: [] == empty_panels(prometheus), story=lambda: str(empty_panels(prometheus)))
    assert [] == nameless_series(prometheus)
    # No phase failed here: an increase from nothing is none, so the first failures must have a zero before them.
    failed = prometheus.ask("query", query='prestager_phase_duration_seconds_count{outcome="failed"} == 0')["result"]
    assert set(PHASES) == {series["metric"]["phase"] for series in failed}
    queues = prometheus.ask("query", query="count by (queue) (rabbitmq_queue_messages_ready)")["result"]
    assert set(WORKER_QUEUES) <= {series["metric"]["queue"] for series in queues}


def test_the_exporter_is_part_of_the_composed_rabbitmq() -> None:
    """The plugin that the dashboard needs is enabled where we run RabbitMQ."""
    assert "rabbitmq_prometheus" in PLUGINS.read_text()
