from __future__ import annotations

import gzip
import zlib
from datetime import timedelta

import pytest

from db import run_output as printed
from db.schema import preparations, run_outputs, runs, steps, strategies, subcloud_groups, subclouds
from statemachine.states import PHASES
from tests.support import api_rows
from tests.support.served_api import ServedApi

BASE = "/v1.0/sw-update-strategy/steps"
PACKAGES = "prestaging-packages"


def output(api: ServedApi, run_id: int, content: bytes) -> None:
    """Keep what a run printed."""
    api.insert(run_outputs, {"run_id": run_id, "content": zlib.compress(content)})


async def test_no_strategy(api: ServedApi) -> None:
    """Without a strategy there are no steps; the type of the query is ignored."""
    api.insert(steps, api_rows.step(1, "standalone"))

    for path in (BASE, f"{BASE}/", f"{BASE}?type=x"):
        assert (await api.send("GET", path)).json == {"strategy-steps": []}


async def test_steps_of_the_active_strategy(api: ServedApi) -> None:
    """Steps are those of the active strategy in the order of ids; not history's, not standalone ones."""
    api.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED), api_rows.strategy(2))
    api.insert(
        steps,
        api_rows.step(1, "old", strategy_id=1),
        api_rows.step(2, "alone"),
        api_rows.step(4, "b", strategy_id=2, stage=2),
        api_rows.step(3, "a", strategy_id=2, state=PACKAGES, started_at=api_rows.STARTED),
    )

    reply = await api.send("GET", BASE, role="reader")

    assert reply.json["strategy-steps"][0] == {
        "id": 3,
        "cloud": "a",
        "stage": 1,
        "state": PACKAGES,
        "details": "",
        "outcome": None,
        "class": None,
        "problem": None,
        "proved-by": None,
        "series": 1,
        "group": None,
        "attempt": 1,
        "run-state": None,
        "worker": None,
        "phase-started-at": None,
        "usual-s": None,
        "held": None,
        "cancel-requested-by": None,
        "started-at": api_rows.STARTED_READ,
        "finished-at": None,
        "created-at": api_rows.CREATED_READ,
        "updated-at": None,
    }
    assert [step["cloud"] for step in reply.json["strategy-steps"]] == ["a", "b"]


async def test_the_work_on_a_step(api: ServedApi) -> None:
    """A step has its group and, while its phase waits or is carried out, the run with attempt, worker and begin."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(subcloud_groups, api_rows.group(7, "edge"))
    api.insert(subclouds, *(api_rows.subcloud(place, name, group_id=7) for place, name in enumerate("abc", start=1)))
    api.insert(
        steps,
        *(
            api_rows.step(place, name, strategy_id=1, state=PACKAGES, run_id=place, subcloud_id=place)
            for place, name in enumerate("abc", start=1)
        ),
    )
    api.insert(
        runs,
        api_rows.run(
            1, PACKAGES, step_id=1, state="running", owner="worker-1@host/3", attempt=2, started_at=api_rows.STARTED
        ),
        api_rows.run(
            2,
            PACKAGES,
            step_id=2,
            state="queued",
            owner=None,
            started_at=None,
            dispatched_at=api_rows.STARTED.timestamp(),
        ),
        api_rows.run(3, PACKAGES, step_id=3, state="finished", owner="worker-1@host/3", started_at=api_rows.STARTED),
    )

    found = (await api.send("GET", BASE)).json["strategy-steps"]
    one = (await api.send("GET", f"{BASE}/a")).json

    keys = ("group", "attempt", "run-state", "worker", "phase-started-at")
    assert ["edge", 2, "running", "worker-1", api_rows.STARTED_READ] == [found[0][key] for key in keys]
    assert ["edge", 1, "queued", None, api_rows.STARTED_READ] == [found[1][key] for key in keys]
    assert ["edge", 1, None, None, None] == [found[2][key] for key in keys]
    assert found[0].items() <= one.items()


async def test_commands_of_a_step(api: ServedApi) -> None:
    """A step that is shown by itself tells which commands are legal for it, and why each other one is not."""
    api.insert(subcloud_groups, api_rows.group(7, "edge"))
    api.insert(subclouds, *(api_rows.subcloud(place, name, group_id=7) for place, name in enumerate("ab", start=1)))
    api.insert(strategies, api_rows.strategy(1, mode="window"))
    api.insert(steps, api_rows.step(1, "a", strategy_id=1, subcloud_id=1))
    ended = {"state": "failed", "outcome": "failed", "finished_at": api_rows.STARTED}
    api.insert(steps, {**api_rows.step(2, "b", strategy_id=1, subcloud_id=2), **ended})

    waiting, failed = [(await api.send("GET", f"{BASE}/{name}")).json for name in "ab"]

    assert waiting["commands"] == ["cancel", "first", "hold"]
    assert waiting["commands-refused"] == {
        "resume": "it is not held",
        "retry": "it is initial; only failed and cancelled ones are",
    }
    assert failed["commands"] == ["retry"]
    assert failed["commands-refused"]["hold"] == "it has ended as failed"
    api.insert(steps, api_rows.step(3, "b", subcloud_id=2))
    assert (await api.send("GET", f"{BASE}/b")).json["commands-refused"]["retry"] == (
        "another step of that site is open"
    )


async def test_chosen_fields(api: ServedApi) -> None:
    """`fields` leaves only the keys that it names, in its order; an unknown one is refused and named."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, api_rows.step(1, "a", strategy_id=1), api_rows.step(2, "b", strategy_id=1))

    chosen = await api.send("GET", f"{BASE}?fields=cloud,state,held")
    wrong = await api.send("GET", f"{BASE}?fields=cloud,colour")

    assert chosen.json == {"strategy-steps": [{"cloud": name, "state": "initial", "held": None} for name in ("a", "b")]}
    assert wrong.status == 400
    assert wrong.detail.startswith("Unknown field 'colour'; there are, with commas between them: id, cloud, stage,")


async def test_compressed_answers(api: ServedApi) -> None:
    """A long answer is compressed for a client that takes gzip, and for no other; a short one for nobody."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, *(api_rows.step(number, f"site-{number}", strategy_id=1) for number in range(1, 41)))

    plain = await api.send("GET", BASE, headers={"Accept-Encoding": "gzip;q=0, deflate"})
    packed = await api.send("GET", BASE, headers={"Accept-Encoding": "br, gzip"})
    short = await api.send("GET", f"{BASE}/site-1", headers={"Accept-Encoding": "gzip"})

    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "Accept-Encoding" in packed.headers["vary"]
    assert len(packed.body) < len(plain.body) / 5
    assert short.json["id"] == 1


async def test_one_step(api: ServedApi) -> None:
    """One step is found by the name of its subcloud, dots and all, and by nothing else."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(steps, api_rows.step(7, "site.1", strategy_id=1), api_rows.step(8, "alone"))

    assert (await api.send("GET", f"{BASE}/site.1")).json["id"] == 7
    for name in ("7", "alone", "SystemController", "a%00b", "%ED%A0%80", "x" * 300):
        reply = await api.send("GET", f"{BASE}/{name}")
        assert (reply.status, reply.detail) == (404, "Strategy step not found")


async def test_log_of_a_phase(api: ServedApi) -> None:
    """The log of a phase is the newest output of that step and phase, as plain text."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(
        steps,
        api_rows.step(1, "a", strategy_id=1, started_at=api_rows.STARTED),
        api_rows.step(2, "b", strategy_id=1, started_at=api_rows.STARTED),
    )
    api.insert(
        runs,
        api_rows.run(1, PACKAGES, step_id=1, outcome="lost"),
        api_rows.run(2, PACKAGES, step_id=1, attempt=2),
        api_rows.run(3, PACKAGES, step_id=2),
        api_rows.run(4, PACKAGES, step_id=1, attempt=3, state="running", outcome=None),
    )
    for run_id, content in ((1, b"first"), (2, "zweiter ü\n".encode()), (3, b"of b")):
        output(api, run_id, content)

    reply = await api.send("GET", f"{BASE}/a/log?phase={PACKAGES}", role="reader")

    assert reply.status == 200
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text == "zweiter ü\n"


async def test_log_of_all_phases(api: ServedApi) -> None:
    """Without a phase all outputs follow each other, in the order of phases, each under a header."""
    api.insert(steps, api_rows.step(1, "a", started_at=api_rows.STARTED))
    api.insert(
        runs,
        api_rows.run(1, "prestaging-images", step_id=1, outcome="failed"),
        api_rows.run(2, PACKAGES, step_id=1, attempt=2),
    )
    output(api, 1, b"images\n")
    output(api, 2, b"packages")

    assert (await api.send("GET", f"{BASE}/a/log")).text == (
        "=== prestaging-packages, attempt 2, succeeded ===\npackages\n"
        "=== prestaging-images, attempt 1, failed ===\nimages\n"
    )


async def test_runs_of_a_step(api: ServedApi) -> None:
    """Each try of each phase of a step is listed, of past strategies too, with worker, outcome and path of its log."""
    api.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED, state="failed"))
    api.insert(preparations, api_rows.preparation(5, strategy_id=1))
    api.insert(
        steps,
        api_rows.step(3, "a", strategy_id=1, from_version="21.12"),
        api_rows.step(4, "b", strategy_id=1, from_version="21.12"),
    )
    moments = {"started_at": None, "finished_at": None, "owner": None, "failure_class": None, "problem": None}
    api.insert(
        runs,
        api_rows.run(1, "prestage-prepare", preparation_id=5, **moments),
        api_rows.run(2, PACKAGES, step_id=3, outcome="lost", **{**moments, "owner": "worker-1@box/7"}),
        api_rows.run(
            3,
            PACKAGES,
            step_id=3,
            attempt=2,
            outcome="failed",
            details="no space",
            dispatched_at=1.5,
            started_at=api_rows.STARTED,
            finished_at=api_rows.STARTED + timedelta(seconds=9),
            owner="worker-2@box/8",
            failure_class="space",
            problem="0123456789ab",
        ),
        api_rows.run(4, PACKAGES, step_id=4, **moments),
        api_rows.run(5, PACKAGES, step_id=3, attempt=3, **{**moments, "state": "queued", "outcome": None}),
    )
    output(api, 3, b"text")

    found = (await api.send("GET", "/v1.0/steps/3/runs", role="reader")).json

    assert found["next"] is None
    assert [(run["id"], run["shared"], run["worker"], run["state"]) for run in found["runs"]] == [
        (1, True, None, "finished"),
        (2, False, "worker-1", "finished"),
        (3, False, "worker-2", "finished"),
        (5, False, None, "queued"),
    ]
    assert found["runs"][2] == {
        "id": 3,
        "step": 3,
        "cloud": "a",
        "phase": PACKAGES,
        "attempt": 2,
        "shared": False,
        "state": "finished",
        "outcome": "failed",
        "details": "no space",
        "class": "space",
        "problem": "0123456789ab",
        "worker": "worker-2",
        "queued-at": "1970-01-01T00:00:01.500+00:00",
        "started-at": "2022-03-03T10:05:00.000+00:00",
        "finished-at": "2022-03-03T10:05:09.000+00:00",
        "log": "/v1.0/runs/3/log",
        "removed-releases": None,
    }
    page = (await api.send("GET", "/v1.0/steps/3/runs?limit=2")).json
    rest = (await api.send("GET", page["next"])).json
    assert [run["id"] for run in (*page["runs"], *rest["runs"])] == [1, 2, 3, 5]
    for wrong in ("9", "a", "0", "9" * 30):
        assert (await api.send("GET", f"/v1.0/steps/{wrong}/runs")).status == 404
    assert (await api.send("GET", "/v1.0/steps/3/runs?stage=1")).status == 400


@pytest.mark.parametrize(
    ("outcome", "facts", "removed"),
    [
        ("succeeded", {"removed_releases": ["23.09"]}, ["23.09"]),
        ("succeeded", {"removed_releases": []}, []),
        ("succeeded", {"removed_releases": "23.09"}, []),
        ("succeeded", None, []),
        ("failed", {"removed_releases": ["23.09"]}, None),
    ],
)
async def test_what_a_removal_removed(
    api: ServedApi, outcome: str, facts: dict[str, object] | None, removed: list[str] | None
) -> None:
    """The run of a removal that succeeded tells of which releases it found something, whatever its playbook says."""
    api.insert(steps, api_rows.step(3, "a", strategy_id=None, type="unstage"))
    api.insert(runs, api_rows.run(1, "unstaging", step_id=3, outcome=outcome, facts=facts))

    found = (await api.send("GET", "/v1.0/steps/3/runs", role="reader")).json

    assert [removed] == [run["removed-releases"] for run in found["runs"]]


async def test_log_of_one_run(api: ServedApi) -> None:
    """The log of a run is what it printed, whichever attempt or strategy it was of; without output it is 404."""
    api.insert(strategies, api_rows.strategy(1, deleted_at=api_rows.CREATED))
    api.insert(steps, api_rows.step(1, "a", strategy_id=1))
    api.insert(
        runs,
        api_rows.run(1, PACKAGES, step_id=1, outcome="failed"),
        api_rows.run(2, PACKAGES, step_id=1, attempt=2),
        api_rows.run(3, PACKAGES, step_id=1, attempt=3),
    )
    output(api, 1, "eins ü\n".encode())
    output(api, 2, b"two")

    first = await api.send("GET", "/v1.0/runs/1/log", role="reader")
    silent = await api.send("GET", "/v1.0/runs/3/log")
    missing = await api.send("GET", "/v1.0/runs/4/log")

    assert (first.status, first.text) == (200, "eins ü\n")
    assert first.headers["content-type"] == "text/plain; charset=utf-8"
    assert (silent.status, silent.detail) == (404, "Run 3 has not printed anything")
    assert (missing.status, missing.detail) == (404, "Run not found; it may have been removed with the history")
    assert (await api.send("GET", "/v1.0/runs/1/log?phase=x")).status == 400
    assert (await api.send("GET", "/v1.0/runs/1/log", role=None)).status == 401


async def test_log_of_a_shared_preparation(api: ServedApi) -> None:
    """The preparation that served a step is in its log, whichever step opened it; another version's is not."""
    api.insert(strategies, api_rows.strategy(1))
    api.insert(
        steps,
        api_rows.step(1, "a", strategy_id=1, from_version="21.12", started_at=api_rows.STARTED),
        api_rows.step(2, "b", strategy_id=1, from_version="21.05", started_at=api_rows.STARTED),
        api_rows.step(3, "alone", from_version="21.12", started_at=api_rows.STARTED),
    )
    api.insert(preparations, api_rows.preparation(1, strategy_id=1), api_rows.preparation(2, step_id=3))
    api.insert(
        runs,
        api_rows.run(1, "prestage-prepare", preparation_id=1),
        api_rows.run(2, "prestage-prepare", preparation_id=2),
    )
    output(api, 1, b"shared")
    output(api, 2, b"own")

    path = "log?phase=prestage-prepare"
    assert (await api.send("GET", f"{BASE}/a/{path}")).text == "shared"
    assert (await api.send("GET", f"{BASE}/alone/{path}")).text == "own"
    assert (await api.send("GET", f"{BASE}/b/{path}")).status == 404


async def test_log_is_of_the_step_that_started_last(api: ServedApi) -> None:
    """A standalone prestage has a log too, until a later step of the same subcloud starts."""
    api.insert(strategies, api_rows.strategy(1, state="initial"))
    api.insert(
        steps,
        api_rows.step(1, "a", started_at=api_rows.STARTED),
        api_rows.step(2, "a", strategy_id=1),
    )
    api.insert(runs, api_rows.run(1, PACKAGES, step_id=1))
    output(api, 1, b"standalone")

    assert (await api.send("GET", f"{BASE}/a/log?phase={PACKAGES}")).text == "standalone"


async def test_a_removal_hides_no_log_of_a_prestage(api: ServedApi) -> None:
    """A phase is that of the last step that has it, for the details of a failed prestage point to its log."""
    later = api_rows.STARTED + timedelta(hours=1)
    ended = {"state": "failed", "finished_at": later}
    api.insert(
        steps,
        api_rows.step(1, "a", **ended, type="prestage", started_at=api_rows.STARTED),
        api_rows.step(2, "a", **ended, type="unstage", started_at=later),
    )
    api.insert(runs, api_rows.run(1, PACKAGES, step_id=1), api_rows.run(2, "unstaging", step_id=2))
    output(api, 1, b"staged\n")
    output(api, 2, b"removed\n")

    replies = [(await api.send("GET", f"{BASE}/a/log?phase={phase}")).text for phase in (PACKAGES, "unstaging")]
    assert ["staged\n", "removed\n"] == replies
    assert "staged" not in (await api.send("GET", f"{BASE}/a/log")).text


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("nobody/log", "Strategy step not found"),
        ("a/log", "There is no output of any phase for subcloud a yet"),
        (
            f"a/log?phase={PACKAGES}",
            f"There is no output of phase '{PACKAGES}' for subcloud a yet",
        ),
        ("a/log?phase=unstaging", "There is no output of phase 'unstaging' for subcloud a yet"),
        (
            "a/log?phase=../etc",
            "Unknown phase '../etc'; the phases are: " + ", ".join(PHASES),
        ),
    ],
)
async def test_no_log(api: ServedApi, path: str, detail: str) -> None:
    """Where there is no log, the answer says why."""
    api.insert(steps, api_rows.step(1, "a"))

    reply = await api.send("GET", f"{BASE}/{path}")

    assert (reply.status, reply.detail) == (404, detail)


async def test_endless_log(api: ServedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a huge output the beginning is shown, and that it is cut."""
    monkeypatch.setattr(printed, "OUTPUT_LIMIT_BYTES", 1000)
    api.insert(steps, api_rows.step(1, "a", started_at=api_rows.STARTED))
    api.insert(runs, api_rows.run(1, PACKAGES, step_id=1))
    output(api, 1, b"x" * 5000)

    text = (await api.send("GET", f"{BASE}/a/log?phase={PACKAGES}")).text

    assert text == "x" * 1000 + "\n[only the first 1000 bytes are shown]\n"
