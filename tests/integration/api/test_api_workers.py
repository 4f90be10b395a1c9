"""/v1.0/workers and /v1.0/whoami."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from db.heartbeats import ProcessIdentity, ProcessReport, register_process
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
