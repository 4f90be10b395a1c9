"""Time series of strategies over HTTP."""

from __future__ import annotations

from datetime import timedelta

from db.schema import steps, strategies
from tests.support import api_rows
from tests.support.served_api import ServedApi


async def test_the_series_of_a_strategy(api: ServedApi) -> None:
    """Readers see the series of any strategy, deleted or not; another one is not found, and there is no parameter."""
    begin, end = api_rows.STARTED, api_rows.STARTED + timedelta(seconds=0.5)
    over = {"applied_at": begin, "finished_at": end, "deleted_at": end, "state": "complete"}
    api.insert(strategies, api_rows.strategy(1, **over))
    ended = {"state": "complete", "outcome": "complete", "started_at": begin, "finished_at": end}
    api.insert(steps, api_rows.step(1, "site1", strategy_id=1, **ended))
    reply = await api.send("GET", "/v1.0/strategies/1/series", role="reader")

    assert reply.json == {
        "from": "2022-03-03T10:05:00.000+00:00",
        "to": "2022-03-03T10:05:00.500+00:00",
        "distance-s": 1,
        "points": [
            {
                "at": "2022-03-03T10:05:00.500+00:00",
                "in-flight": 0,
                "at-playbook": 0,
                "ended": 1,
                "failed": 0,
                "held": False,
            }
        ],
        "stages": [
            {
                "stage": 1,
                "name": "",
                "sites": 1,
                "ended": 1,
                "failed": 0,
                "started-at": "2022-03-03T10:05:00.000+00:00",
                "finished-at": "2022-03-03T10:05:00.500+00:00",
            }
        ],
        "holds": [],
    }
    assert (await api.send("GET", "/v1.0/strategies/2/series")).status == 404
    assert (await api.send("GET", "/v1.0/strategies/1/series?limit=3")).status == 400
