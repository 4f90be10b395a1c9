"""Moments in answers: with their zone, but where dcmanager's API has the route."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from db.schema import audit, holds, problems, steps, strategies
from db.schema import webhook_deliveries as deliveries
from db.schema import webhooks as receivers
from tests.integration.api.test_api_history import entry
from tests.integration.api.test_api_problems import failed
from tests.integration.api.test_api_webhooks import delivery, webhook
from tests.support import api_rows
from tests.support.served_api import ServedApi

ENDED = api_rows.STARTED + timedelta(seconds=90)
MOMENT = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")
ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


def moments(value: Any) -> Iterator[str]:
    """Yield every moment in an answer."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from moments(one)
    elif isinstance(value, str) and MOMENT.match(value):
        yield value


@pytest.fixture
def filled(api: ServedApi) -> ServedApi:
    """Give an API whose every list has something."""
    api.insert(
        strategies,
        api_rows.strategy(1, state="failed", finished_at=ENDED, deleted_at=ENDED),
        api_rows.strategy(2, state="applying", applied_at=api_rows.STARTED),
    )
    times = {"started_at": api_rows.STARTED, "finished_at": ENDED}
    for step in (
        {**failed(1), **times},
        api_rows.step(2, "alone", strategy_id=None, type="prestage", state="complete", **times),
        api_rows.step(3, "now", strategy_id=2, started_at=api_rows.STARTED),
    ):
        api.insert(steps, step)
    api.insert(
        problems,
        {
            "strategy_id": 1,
            "id": failed(1)["problem"],
            "phase": "p",
            "failure_class": "space",
            "task": "t",
            "text": "x",
        },
    )
    api.insert(
        holds,
        {
            "id": 1,
            "strategy_id": 2,
            "kind": "operator",
            "scope": "starts",
            "reason": "",
            "since": api_rows.STARTED,
            "by": "a",
        },
    )
    api.insert(audit, entry(1))
    epoch = api_rows.STARTED.timestamp()
    api.insert(receivers, webhook(1, "a", failing_since=epoch, updated_at=ENDED, disabled_at=ENDED))
    api.insert(deliveries, delivery(1, attempted_at=ENDED, finished_at=ENDED))
    return api


@pytest.mark.parametrize(
    "path",
    [
        "audit",
        "health",
        "prestages",
        "strategies",
        "strategies/1",
        "strategies/1/problems",
        "strategies/1/steps",
        "strategies/2",
        "webhooks",
        "webhooks/a",
        "webhooks/a/deliveries",
        "webhooks/a/deliveries/1",
    ],
)
async def test_moments_of_our_own_routes_have_a_zone(filled: ServedApi, path: str) -> None:
    """Where dcmanager's API has no such route, each moment says its zone."""
    reply = await filled.send("GET", f"/v1.0/{path}", role="admin")

    found = list(moments(reply.json))
    assert found
    assert [one for one in found if not ZONED.fullmatch(one)] == []


@pytest.mark.parametrize("path", ["sw-update-strategy", "sw-update-strategy/steps", "sw-update-strategy/steps/now"])
async def test_moments_of_the_contract_have_none(filled: ServedApi, path: str) -> None:
    """On routes of dcmanager's API moments are spelled as there, in UTC without a zone."""
    reply = await filled.send("GET", f"/v1.0/{path}", role="admin")

    found = list(moments(reply.json))
    assert found
    assert [one for one in found if "+" in one or "T" in one] == []
