"""Past strategies and the audit over HTTP: what they show, and page by page."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from db.schema import audit, steps, strategies
from tests.support import api_rows
from tests.support.served_api import ServedApi

STRATEGIES = "/v1.0/strategies"
AUDIT = "/v1.0/audit"
PRESTAGES = "/v1.0/prestages"
START = api_rows.STARTED


def entry(entry_id: int, **values: Any) -> dict[str, Any]:
    """Return an entry of the audit."""
    return {
        "id": entry_id,
        "at": START,
        "caller": "ops",
        "origin": "10.0.0.7",
        "user_id": None,
        "command_id": f"ops/{entry_id}",
        "type": "strategy.apply",
        "subject": None,
        "status": 200,
        "detail": "",
        **values,
    }


async def test_past_and_present(api: ServedApi) -> None:
    """Deleted and present strategies are shown, newest first, with how their steps ended and how long it took."""
    end = START + timedelta(seconds=90)
    api.insert(
        strategies,
        api_rows.strategy(1, state="failed", requested_by="night", finished_at=end, deleted_at=end),
        api_rows.strategy(2),
    )
    api.insert(
        steps,
        api_rows.step(1, "a", strategy_id=1, state="complete", started_at=START, finished_at=end),
        api_rows.step(2, "b", strategy_id=1, state="failed", started_at=START + timedelta(seconds=5), finished_at=end),
        api_rows.step(3, "c", strategy_id=1, state="complete", started_at=START, finished_at=end),
        api_rows.step(4, "alone"),
    )

    reply = await api.send("GET", STRATEGIES, role="reader")
    present, past = reply.json["strategies"]

    assert ([2, 1], None) == ([present["id"], past["id"]], reply.json["next"])
    assert ("failed", "night", {"complete": 2, "failed": 1}) == (past["state"], past["requested-by"], past["steps"])
    assert (90.0, api_rows.STARTED_ZONED) == (past["duration-s"], past["started-at"])
    progress = past["progress"]
    assert (3, 2, 1, 0) == tuple(progress[word] for word in ("total", "complete", "failed", "skipped"))
    assert api_rows.STARTED_ZONED == progress["started-at"]
    assert (None, None, None, {}) == (
        present["duration-s"],
        present["started-at"],
        present["deleted-at"],
        present["steps"],
    )
    assert past == (await api.send("GET", f"{STRATEGIES}/1")).json


async def test_steps_of_a_past_strategy(api: ServedApi) -> None:
    """The steps of a strategy come in the order of their ids with stage, reason and duration; others' do not."""
    api.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED), api_rows.strategy(2))
    api.insert(
        steps,
        api_rows.step(
            2,
            "b",
            strategy_id=1,
            stage=2,
            state="failed",
            details="no room",
            from_version="21.12",
            started_at=START,
            finished_at=START + timedelta(seconds=1.5),
        ),
        api_rows.step(1, "a", strategy_id=1),
        api_rows.step(3, "c", strategy_id=2),
    )

    reply = await api.send("GET", f"{STRATEGIES}/1/steps", role="reader")
    first, second = reply.json["steps"]

    assert ["a", "b"] == [first["cloud"], second["cloud"]]
    assert (2, "no room", 1.5, "22.12", "21.12") == (
        second["stage"],
        second["details"],
        second["duration-s"],
        second["release"],
        second["from-version"],
    )


async def test_prestages_without_a_strategy(api: ServedApi) -> None:
    """They come newest first with who asked for them and the path of their runs; steps of strategies do not."""
    end = START + timedelta(seconds=2)
    ended = {"state": "failed", "outcome": "failed", "details": "no room", "failure_class": "space"}
    later = api_rows.CREATED + timedelta(microseconds=1)
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, api_rows.step(1, "edge-1", started_at=START, finished_at=end, problem="0" * 12, **ended))
    api.insert(steps, api_rows.step(2, "edge-1", strategy_id=1))
    api.insert(steps, api_rows.step(3, "edge-2", type="unstage", created_at=later))
    api.insert(steps, api_rows.step(4, "other"))
    at = api_rows.CREATED
    api.insert(
        audit,
        entry(1, at=at, type="subcloud.prestage", subject="edge-1", caller="ann"),
        entry(2, at=at, type="subcloud.prestage", subject="edge-1", caller="refused", status=400),
        entry(3, at=at, type="subcloud.update", subject="other", caller="no prestage"),
        entry(4, at=later, type="subcloud.unstage", subject="edge-2", caller="bob"),
    )

    reply = await api.send("GET", PRESTAGES, role="reader")
    shown = {
        word: (await api.send("GET", f"{PRESTAGES}?cloud={word}")).json["prestages"]
        for word in ("edge-1", "edge-*", "edge")
    }
    runs = await api.send("GET", reply.json["prestages"][2]["runs"])

    assert [(4, "prestage", None), (3, "unstage", "bob"), (1, "prestage", "ann")] == [
        (one["id"], one["type"], one["requested-by"]) for one in reply.json["prestages"]
    ]
    assert {"edge-1": [1], "edge-*": [3, 1], "edge": []} == {
        word: [one["id"] for one in found] for word, found in shown.items()
    }
    (failed,) = shown["edge-1"]
    assert ("failed", "no room", "space", "0" * 12, "22.12", 2.0) == tuple(
        failed[key] for key in ("outcome", "details", "class", "problem", "release", "duration-s")
    )
    assert (200, []) == (runs.status, runs.json["runs"])


async def test_prestages_with_an_unknown_parameter(api: ServedApi) -> None:
    """A parameter that the list does not have is refused, with the nearest name."""
    reply = await api.send("GET", f"{PRESTAGES}?clouds=edge-1")

    assert 400 == reply.status
    assert "cloud" in reply.text


@pytest.mark.parametrize("path", [STRATEGIES, AUDIT, PRESTAGES])
async def test_pages_of_the_newest_first(api: ServedApi, path: str) -> None:
    """Following `next` shows every row once, also when rows are added meanwhile; the last page has none."""
    deleted = api_rows.CREATED
    api.insert(strategies, *(api_rows.strategy(number, deleted_at=deleted) for number in range(1, 6)))
    api.insert(audit, *(entry(number) for number in range(1, 6)))
    api.insert(steps, *(api_rows.step(number, "alone") for number in range(1, 6)))
    key = path.rpartition("/")[2]
    seen: list[int] = []
    following: str | None = f"{path}?limit=2" + ("&type=strategy.apply" if path == AUDIT else "")
    while following is not None:
        page = (await api.send("GET", following)).json
        seen += [row["id"] for row in page[key]]
        following = page["next"]
        api.insert(strategies, api_rows.strategy(100 + len(seen), deleted_at=deleted))
        api.insert(audit, entry(100 + len(seen)))
        api.insert(steps, api_rows.step(100 + len(seen), "alone"))

    assert [5, 4, 3, 2, 1] == seen


async def test_pages_of_steps(api: ServedApi) -> None:
    """Steps come page by page as well, the oldest first."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, *(api_rows.step(number, f"s{number}", strategy_id=1) for number in range(1, 4)))

    first = (await api.send("GET", f"{STRATEGIES}/1/steps?limit=2")).json
    second = (await api.send("GET", first["next"])).json

    assert ["s1", "s2", "s3"] == [step["cloud"] for step in first["steps"] + second["steps"]]
    assert second["next"] is None


async def test_what_is_no_page(api: ServedApi) -> None:
    """A limit beyond 1 to 1000, or a marker that is no id, is refused and says what is right."""
    reply = await api.send("GET", f"{STRATEGIES}?limit=%C2%B2")

    assert 400 == reply.status
    assert "must be" in reply.detail


@pytest.mark.parametrize("ref", ["9", "x", "9" * 30, "1.0"])
async def test_no_such_strategy(api: ServedApi, ref: str) -> None:
    """A strategy that never was is not found, nor are its steps."""
    for path in (f"{STRATEGIES}/{ref}", f"{STRATEGIES}/{ref}/steps"):
        assert (404, "Strategy not found") == ((reply := await api.send("GET", path)).status, reply.detail)


async def test_the_audit(api: ServedApi) -> None:
    """An administrator sees who asked what from where and what was answered; since, caller and type narrow it."""
    api.insert(
        audit,
        entry(1, at=START - timedelta(days=1)),
        entry(
            2,
            caller="ci",
            origin="",
            user_id="night-job",
            type="subcloud.prestage",
            subject="edge-1",
            status=400,
            detail="no",
        ),
        entry(3),
    )

    newest, foreign, _ = (await api.send("GET", AUDIT)).json["audit"]
    narrowed = {
        query: [row["id"] for row in (await api.send("GET", f"{AUDIT}?{query}")).json["audit"]]
        for query in ("caller=ci", "type=strategy.apply", f"since={START.isoformat().replace('+00:00', 'Z')}")
    }

    assert ("ops", "10.0.0.7", "strategy.apply", 200) == tuple(
        newest[key] for key in ("caller", "origin", "type", "status")
    )
    assert (None, "night-job", "edge-1", 400, "no") == tuple(
        foreign[key] for key in ("origin", "user-id", "subject", "status", "detail")
    )
    assert [[2], [3, 1], [3, 2]] == list(narrowed.values())


async def test_a_moment_that_is_none(api: ServedApi) -> None:
    """A `since` that is no moment is refused."""
    reply = await api.send("GET", f"{AUDIT}?since=yesterday")

    assert (400, True) == (reply.status, "must be a moment" in reply.detail)


@pytest.mark.parametrize("role", ["reader", "operator", "configurator"])
async def test_the_audit_is_for_administrators(api: ServedApi, role: str) -> None:
    """Nobody but an administrator reads who asked what."""
    assert 403 == (await api.send("GET", AUDIT, role=role)).status


async def test_the_origin_travels(api: ServedApi) -> None:
    """A command carries the address that the API was called from, whatever headers say."""
    await api.send("DELETE", "/v1.0/sw-update-strategy", headers={"X-Forwarded-For": "1.2.3.4"})

    assert ("127.0.0.1", "admin") == (api.transport.only.origin, api.transport.only.requested_by)
