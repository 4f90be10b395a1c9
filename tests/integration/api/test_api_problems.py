"""Problems of strategies and explanations of sites over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest

from db.schema import holds, problems, steps, strategies, strategy_stages
from tests.support import api_rows
from tests.support.served_api import ServedApi

BASE = "/v1.0/sw-update-strategy"
PACKAGES = "prestaging-packages"
ID = "3f09ab61c2de"


def failed(number: int) -> dict[str, object]:
    """Return a step that failed so many seconds after the first one."""
    return api_rows.step(
        number,
        f"site{number}",
        strategy_id=1,
        state="failed",
        outcome="failed",
        details=f"No space left on site{number}.",
        failure_class="space",
        problem=ID,
        finished_at=api_rows.CREATED + timedelta(seconds=number),
    )


def add_problem(api: ServedApi, *, count: int = 2, **strategy: object) -> None:
    """Add a strategy with so many steps that failed alike."""
    api.insert(strategies, api_rows.strategy(1, **strategy))
    api.insert(steps, *(failed(number) for number in range(1, count + 1)))
    api.insert(steps, api_rows.step(99, "good", strategy_id=1))
    api.insert(
        problems,
        {
            "strategy_id": 1,
            "id": ID,
            "phase": PACKAGES,
            "failure_class": "space",
            "task": "Copy",
            "text": "No space left on *.",
        },
    )


@pytest.mark.parametrize("path", [f"{BASE}/problems", f"{BASE}/problems?type=prestage", "/v1.0/strategies/1/problems"])
async def test_problems_of_a_strategy(api: ServedApi, path: str) -> None:
    """A problem says how many sites have it, names some, and what to do next; readers may ask."""
    add_problem(api)
    reply = await api.send("GET", path, role="reader")

    assert reply.json == {
        "problems": [
            {
                "id": ID,
                "phase": PACKAGES,
                "class": "space",
                "task": "Copy",
                "text": "No space left on *.",
                "count": 2,
                "clouds": ["site2", "site1"],
                "first": "2022-03-03T10:00:01.123+00:00",
                "last": "2022-03-03T10:00:02.123+00:00",
                "sample": {
                    "cloud": "site2",
                    "details": "No space left on site2.",
                    "log": f"{BASE}/steps/site2/log?phase={PACKAGES}",
                },
                "retryable": False,
                "advice": "Free space in the file system that the text names, then retry.",
            }
        ],
        "others": 0,
    }


async def test_problems_of_history(api: ServedApi) -> None:
    """A deleted strategy still has its problems; the active one is none then."""
    add_problem(api, deleted_at=api_rows.CREATED)

    assert len((await api.send("GET", "/v1.0/strategies/1/problems")).json["problems"]) == 1
    assert (await api.send("GET", f"{BASE}/problems")).status == 404


async def test_no_problems(api: ServedApi) -> None:
    """A strategy without failures has an empty list; one that does not exist is not found."""
    api.insert(strategies, api_rows.strategy(1))

    assert (await api.send("GET", f"{BASE}/problems")).json == {"problems": [], "others": 0}
    assert (await api.send("GET", "/v1.0/strategies/2/problems")).status == 404
    assert (await api.send("GET", f"{BASE}/problems?type=patch")).status == 404
    assert (await api.send("GET", f"{BASE}/problems?limit=3")).status == 400


async def test_ten_sites_are_named(api: ServedApi) -> None:
    """However many sites have a problem, the newest ten are named."""
    add_problem(api, count=30)
    (found,) = (await api.send("GET", f"{BASE}/problems")).json["problems"]

    assert found["count"] == 30
    assert found["clouds"] == [f"site{number}" for number in range(30, 20, -1)]


async def test_steps_show_class_and_problem(api: ServedApi) -> None:
    """A step that failed shows its class and the fingerprint of its problem, in the history too."""
    add_problem(api, count=1)
    for path, key in ((f"{BASE}/steps", "strategy-steps"), ("/v1.0/strategies/1/steps", "steps")):
        first, good = (await api.send("GET", path)).json[key]
        assert (first["class"], first["problem"]) == ("space", ID)
        assert (good["class"], good["problem"]) == (None, None)


async def test_a_held_site_is_explained(api: ServedApi) -> None:
    """A site is explained by the hold that keeps it; readers may ask."""
    api.insert(strategies, api_rows.strategy(1, state="applying"))
    api.insert(steps, api_rows.step(7, "site7", strategy_id=1), api_rows.step(8, "alone"))
    api.insert(
        holds,
        {
            "strategy_id": 1,
            "kind": "operator",
            "scope": "starts",
            "reason": "storm",
            "by": "alice",
            "since": api_rows.CREATED,
        },
    )
    reply = await api.send("GET", f"{BASE}/steps/site7/explain", role="reader")

    assert reply.json == {
        "cloud": "site7",
        "state": "initial",
        "explanation": "site7 does not start, for alice holds the strategy: storm.",
    }
    for name in ("alone", "nobody"):
        assert (await api.send("GET", f"{BASE}/steps/{name}/explain")).status == 404


async def test_a_place_in_the_window_is_explained(api: ServedApi) -> None:
    """A site of a sliding window is explained by how many are in flight and how many come before it."""
    api.insert(strategies, api_rows.strategy(1, state="applying", mode="window", max_parallel_subclouds=1))
    api.insert(strategy_stages, {"strategy_id": 1, "stage": 1, "width": None})
    api.insert(
        steps,
        *(api_rows.step(number, f"site{number}", strategy_id=1, position=number) for number in range(2, 6)),
    )
    api.insert(steps, api_rows.step(1, "site1", strategy_id=1, state=PACKAGES, run_id=5, position=1))
    reply = await api.send("GET", f"{BASE}/steps/site4/explain")

    assert reply.json["explanation"] == (
        "site4 waits for a place in the window: 1 site in flight, and 2 sites before it."
    )
