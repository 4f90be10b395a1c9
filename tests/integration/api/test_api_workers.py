"""/v1.0/workers, /v1.0/health, /v1.0/releases and /v1.0/whoami."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from db.heartbeats import ProcessIdentity, ProcessReport, register_process
from db.schema import webhooks
from tests.integration.api.test_api_webhooks import webhook
from tests.support.served_api import ServedApi

WORKERS = "/v1.0/workers"


def register(api: ServedApi, process: str, *roles: str, slots: int | None = None) -> None:
    """Put a process into the database."""
    identity = ProcessIdentity(process=process, name="one", host="ctrl-0", version="1.2", roles=roles, slots=slots)
    report = ProcessReport(
        key_ids=("aa", "bb"), running=None if slots is None else 1, releases=("22.12",), feeds=(), playbooks_error=""
    )
    with api.database.write() as connection:
        register_process(connection, identity, report)


async def test_nothing_runs(api: ServedApi) -> None:
    """Without any process the list is empty."""
    assert {"workers": []} == (await api.send("GET", WORKERS)).json


async def test_processes_are_shown(api: ServedApi) -> None:
    """Each process is shown with everything that it reported, and with moments that have a zone."""
    register(api, "one@m/1", "api")
    register(api, "one@m/2", "coordinator", "worker", slots=4)

    reply = await api.send("GET", f"{WORKERS}/", role="reader")

    of_api, both = reply.json["workers"]
    moments = [datetime.fromisoformat(both.pop(key)) for key in ("started-at", "last-seen-at")]
    assert all(abs((datetime.now(UTC) - moment).total_seconds()) < 30 for moment in moments)
    assert 0 <= both.pop("last-seen-s") < 30
    assert both == {
        "id": "one@m/2",
        "name": "one",
        "host": "ctrl-0",
        "roles": ["coordinator", "worker"],
        "version": "1.2",
        "queues": [],
        "slots": 4,
        "running": 1,
        "prechecks": None,
        "draining": False,
        "releases": ["22.12"],
        "feeds": [],
        "playbooks-error": "",
        "key-ids": ["aa", "bb"],
        "alive": True,
    }
    assert (["api"], None, None) == (of_api["roles"], of_api["slots"], of_api["running"])


@pytest.mark.parametrize("role", ["reader", "operator", "configurator", "admin"])
async def test_every_role_may_look(api: ServedApi, role: str) -> None:
    """Whoever may read anything may read this."""
    assert 200 == (await api.send("GET", WORKERS, role=role)).status


async def test_without_a_token(api: ServedApi) -> None:
    """Without a token nothing is shown."""
    assert 401 == (await api.send("GET", WORKERS, role=None)).status


@pytest.mark.parametrize("role", ["reader", "operator", "configurator", "admin"])
async def test_who_the_caller_is(api: ServedApi, role: str) -> None:
    """Every caller learns the name that the audit has, and the role; without a token nothing is told."""
    reply = await api.send("GET", "/v1.0/whoami", role=role)

    assert (200, {"name": role, "roles": [role], "project": "admin"}) == (reply.status, reply.json)
    assert 401 == (await api.send("GET", "/v1.0/whoami", role=None)).status


async def test_health_of_one_process(api: ServedApi) -> None:
    """Health tells checks, versions and, without RabbitMQ, why there are no queues; webhooks without address."""
    register(api, "one@m/1", "api", "coordinator", "worker", slots=4)
    api.insert(webhooks, webhook(1, "ops", url="https://ops.example/secret", enabled=False, disabled_reason="refused"))

    reply = await api.send("GET", "/v1.0/health", role="reader")

    assert 200 == reply.status
    assert ([], None, True) == tuple(reply.json[key] for key in ("queues", "dead-letters", "ready"))
    assert "One process does everything: there are no queues." == reply.json["queues-missing"]
    assert {"database": None, "broker": None} == reply.json["checks"]
    assert ["1.2"] == reply.json["versions"]
    assert [("ops", False, "refused")] == [
        (one["name"], one["enabled"], one["disabled-reason"]) for one in reply.json["webhooks"]
    ]
    assert "secret" not in str(reply.json)


@pytest.mark.parametrize("action", ["drain", "undrain"])
async def test_workers_that_cannot_drain(api: ServedApi, action: str) -> None:
    """A name of no living worker is not found; one process that does everything never drains, and nobody is asked."""
    register(api, "one@m/1", "api")
    other = await api.send("POST", f"{WORKERS}/one/{action}")
    register(api, "one@m/2", "coordinator", "worker", slots=4)
    only = await api.send("POST", f"{WORKERS}/one/{action}", role="configurator")

    assert (404, True) == (other.status, "There is no living worker of this name" in other.detail)
    assert (422, True) == (only.status, "One process does everything and never drains" in only.detail)
    assert {"audit": [], "next": None} == (await api.send("GET", "/v1.0/audit")).json
    assert 403 == (await api.send("POST", f"{WORKERS}/one/{action}", role="operator")).status


async def test_releases(api: ServedApi) -> None:
    """Each release that a living worker sees is listed once, the newest first, with those workers."""
    assert {"releases": []} == (await api.send("GET", "/v1.0/releases")).json
    for process, releases, feeds in (("a@m/1", ("22.12", "9.01"), ("22.12",)), ("b@m/2", ("22.12",), ())):
        identity = ProcessIdentity(process=process, name=process[0], host="h", version="1", roles=("worker",), slots=1)
        with api.database.write() as connection:
            register_process(connection, identity, ProcessReport(key_ids=("aa",), releases=releases, feeds=feeds))

    found = (await api.send("GET", "/v1.0/releases")).json["releases"]

    assert [
        {"release": "22.12", "workers": ["a", "b"], "has-feed": True},
        {"release": "9.01", "workers": ["a"], "has-feed": False},
    ] == found
