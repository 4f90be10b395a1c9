"""Filters and pages of the lists of steps and subclouds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from db.schema import runs, steps, strategies, subcloud_groups, subclouds
from tests.support import api_rows
from tests.support.served_api import ServedApi

STEPS = "/v1.0/sw-update-strategy/steps"
PAST_STEPS = "/v1.0/strategies/2/steps"
SUBCLOUDS = "/v1.0/subclouds"
LISTS = {STEPS: ("strategy-steps", "cloud"), PAST_STEPS: ("steps", "cloud"), SUBCLOUDS: ("subclouds", "name")}
PROBLEM = "3f09ab61c2de"
# Filters, and the sites with a step that fit.
FITTING: Mapping[str, list[str]] = {
    "state=failed": ["edge-1"],
    "state=failed,initial": ["edge-1", "e[x]_4"],
    "outcome=skipped": ["edge-2"],
    "outcome=complete": ["Edge-3"],
    "stage=2": ["Edge-3", "e[x]_4"],
    "stage=2&outcome=complete": ["Edge-3"],
    "class=login": ["edge-1"],
    "class=space,login": ["edge-1"],
    "class=space": [],
    "run-state=queued": ["e[x]_4"],
    "run-state=queued,running&stage=2": ["e[x]_4"],
    "run-state=running": [],
    f"problem={PROBLEM}": ["edge-1"],
    "problem=000000000000": [],
    f"problem={PROBLEM[:4]}": ["edge-1"],
    f"problem={PROBLEM[:11]}": ["edge-1"],
    "group=north": ["edge-2"],
    "group=7": ["edge-2"],
    "cloud=edge-*": ["edge-1", "edge-2"],
    "cloud=?dge-3": ["Edge-3"],
    "cloud=e[x]_4": ["e[x]_4"],
    "cloud=e%25": [],
    "cloud=edge_1": [],
    "selector=region%3Deu,!tier": ["edge-2"],
    "selector=region!%3Deu&stage=2": ["Edge-3", "e[x]_4"],
    "selector=site.kind/role+in+(lab,x)": ["Edge-3"],
}
# Filters that cannot be meant, and how the answer to each begins.
WRONG = {
    "state=fialed": "Unknown state 'fialed'; there are, with commas between them: initial, ",
    "state=": "Unknown state ''; there are, with commas between them: initial, ",
    "outcome=failed,done": "Unknown outcome 'done'; there are, with commas between them: complete, skipped, ",
    "class=x": "Unknown class 'x'; there are, with commas between them: unreachable, login, ",
    "run-state=finished": "Unknown run-state 'finished'; there are, with commas between them: queued, running",
    "stage=0": "stage must be the number of a stage, from 1",
    "problem=3f": "problem must be the id of a problem, as …/problems lists it, or its first 4 signs or more",
    "problem=3F09": "problem must be the id of a problem, as …/problems lists it, or its first 4 signs or more",
    "problem=3f09ab61c2de0": "problem must be the id of a problem, as …/problems lists it, or its first 4 signs",
    "problem=0000": "No problem of strategy 2 has an id that begins with 0000; there is 3f09ab61c2de (login)",
    "group=south": "There is no group 'south'",
    "cloud=": "cloud must be a text of 1 to 255 characters without a NUL",
    "cloud=a%00": "cloud must be a text of 1 to 255 characters without a NUL",
    "selector=region%3D%3D": "selector: at character ",
    "limit=x": "limit must be a number from 1 to 1000",
    "marker=x": "marker must be the id of the last entry seen, as `next` gives it",
}


@pytest.fixture(name="fleet")
def fleet_fixture(api: ServedApi) -> ServedApi:
    """Five sites, of which the last is in no strategy, and an older strategy in which all had failed."""
    labels: dict[str, dict[str, str]] = {
        "edge-1": {"region": "eu", "tier": "gold"},
        "edge-2": {"region": "eu"},
        "Edge-3": {"region": "us", "site.kind/role": "lab"},
        "e[x]_4": {},
        "spare": {"region": "eu"},
    }
    api.insert(subcloud_groups, api_rows.group(7, "north"))
    api.insert(
        subclouds,
        *(
            api_rows.subcloud(number, name, labels=shown, group_id=7 if number == 2 else 1)
            for number, (name, shown) in enumerate(labels.items(), start=1)
        ),
    )
    api.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED), api_rows.strategy(2))
    ended = {"finished_at": api_rows.STARTED}
    failed = {**ended, "state": "failed", "outcome": "failed", "failure_class": "login", "problem": PROBLEM}
    now: list[dict[str, Any]] = [
        failed,
        {**ended, "state": "complete", "outcome": "skipped"},
        {**ended, "state": "complete", "outcome": "complete", "stage": 2},
        {"state": "initial", "stage": 2, "run_id": 3},
    ]
    for strategy_id, facts in ((1, [failed] * 4), (2, now)):
        for number, (name, fact) in enumerate(zip(labels, facts, strict=False), start=1):
            mine = {"subcloud_id": number, "strategy_id": strategy_id, **fact}
            api.insert(steps, api_rows.step(10 * strategy_id + number, name, **mine))
    api.insert(
        runs,
        api_rows.run(1, "prestage-precheck", step_id=21),
        api_rows.run(3, "prestage-precheck", step_id=24, state="queued", outcome=None),
    )
    return api


async def listed(api: ServedApi, path: str, query: str) -> list[str]:
    """Return the names of the sites of a list."""
    key, name = LISTS[path]
    reply = await api.send("GET", f"{path}?{query}", role="reader")
    assert reply.status == 200, reply.detail
    return [one[name] for one in reply.json[key]]


@pytest.mark.parametrize("path", LISTS)
async def test_filters(fleet: ServedApi, path: str) -> None:
    """A filter leaves what fits, of subclouds by their step in the active strategy; several must all fit."""
    found = {query: [name for name in await listed(fleet, path, query) if name != "spare"] for query in FITTING}

    assert FITTING == found


async def test_sites_without_a_step(fleet: ServedApi) -> None:
    """A subcloud without a step in the active strategy fits filters of subclouds, and none of steps."""
    assert ["edge-1", "edge-2", "spare"] == await listed(fleet, SUBCLOUDS, "selector=region%3Deu")
    assert ["spare"] == await listed(fleet, SUBCLOUDS, "cloud=spar*")
    assert [] == await listed(fleet, SUBCLOUDS, "cloud=spare&state=initial,failed,complete")


@pytest.mark.parametrize("path", LISTS)
async def test_pages(fleet: ServedApi, path: str) -> None:
    """With a limit `next` is the path of the next page, with the same filters, until there is none."""
    key, name = LISTS[path]
    following: str | None = f"{path}?limit=1&selector=region"
    names = []
    while following is not None:
        page = (await fleet.send("GET", following)).json
        names += [one[name] for one in page[key]]
        following = page["next"]

    assert ["edge-1", "edge-2", "Edge-3"] == [name for name in names if name != "spare"]


@pytest.mark.parametrize("path", [STEPS, SUBCLOUDS])
async def test_whole_lists(fleet: ServedApi, path: str) -> None:
    """Without a limit all come, in the order of ids and in the shape of dcmanager's API; unknown names count not."""
    key, _name = LISTS[path]
    whole = (await fleet.send("GET", path)).json

    assert {key} == set(whole)
    assert [one["id"] for one in whole[key]] == sorted(one["id"] for one in whole[key])
    assert whole == (await fleet.send("GET", f"{path}?type=prestage&anything=1")).json
    assert whole[key][2:] == (await fleet.send("GET", f"{path}?marker={whole[key][1]['id']}")).json[key]


@pytest.mark.parametrize("path", LISTS)
async def test_wrong_filters(fleet: ServedApi, path: str) -> None:
    """A filter that cannot be meant is refused, with what there is instead; nothing is listed for it."""
    for query, told in WRONG.items():
        reply = await fleet.send("GET", f"{path}?{query}")

        assert (400, told) == (reply.status, reply.detail[: len(told)]), query


@pytest.mark.parametrize("path", LISTS)
async def test_an_ambiguous_problem(fleet: ServedApi, path: str) -> None:
    """A beginning that several problems of the strategy share is refused with all of them; more of it is enough."""
    other = {"state": "failed", "outcome": "failed", "failure_class": "space", "problem": "3f09ab000000"}
    fleet.insert(steps, api_rows.step(25, "spare", subcloud_id=5, strategy_id=2, finished_at=api_rows.STARTED, **other))

    refused = await fleet.send("GET", f"{path}?problem=3f09ab")

    assert 400 == refused.status
    told = "Several problems of strategy 2 have ids that begin with 3f09ab: 3f09ab000000 (space), 3f09ab61c2de (login)"
    assert told in refused.detail
    assert ["spare"] == await listed(fleet, path, "problem=3f09ab0")


async def test_a_problem_of_no_strategy(api: ServedApi) -> None:
    """Without an active strategy no site fits the beginning of a problem, and nothing is wrong with it."""
    api.insert(subclouds, api_rows.subcloud(1, "edge-1"))

    assert [] == await listed(api, SUBCLOUDS, "problem=3f09")
    assert [] == await listed(api, STEPS, "problem=3f09")
