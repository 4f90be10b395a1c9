"""The preview of a strategy: the same as creating it, without creating it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import delete, insert

from actors.coordinator.create_strategy import preview_strategy
from db.schema import audit, commands, events, heartbeats, runs, secrets, steps, strategies
from messages.commands import Answer, CommandType
from messages.queues import PRECHECKS, PREPARE, SUBCLOUDS
from tests.support import api_rows
from tests.support.installation import Installation

PHASES_OF_A_SITE = ("prestage-precheck", "prestaging-packages", "prestaging-images")
UNABLE = "Unable to create strategy of type 'prestage': Bad strategy request: "


def preview(installation: Installation, **data: Any) -> Answer:
    """Ask for the preview of a strategy."""
    return installation.ask(CommandType.STRATEGY_PREVIEW, password=None, type="prestage", **data)


class TestAnswer:
    def test_stages_with_names(self, installation: Installation) -> None:
        """The answer has stages with names and widths, what is left out and why, and what counts."""
        installation.add_group("edge", "serial")
        for name in ("a", "b", "c"):
            installation.add_site(name)
        installation.add_site("d", group_id="edge")
        installation.add_site("e", **{"availability-status": "offline"})

        answer = preview(installation, rollout={"max-failures": 1})

        assert 200 == answer.status
        body = answer.body
        assert [("ab", 2), ("c", 1), ("d", 1)] == [("".join(one["clouds"]), one["count"]) for one in body["stages"]]
        assert (4, "23.09", 1) == (body["sites"], body["release"], body["rollout"]["max-failures"])
        assert [{"name": "e", "reason": "Prestage skipped 'e': Subcloud is offline."}] == body["excluded-subclouds"]
        assert [] == body["refusals"]
        assert body["plan-digest"].startswith("4-3-")

    def test_stages_of_a_window(self, installation: Installation) -> None:
        """In a window a stage is a group, with its own width where the request has none."""
        for name in ("a", "b", "c"):
            installation.add_site(name)

        own = preview(installation, rollout={"mode": "window"}).body
        asked = preview(installation, rollout={"mode": "window"}, **{"max-parallel-subclouds": 3}).body

        stage = {
            "stage": 1,
            "name": "",
            "width": 2,
            "soak-s": None,
            "gate": None,
            "count": 3,
            "clouds": ["a", "b", "c"],
        }
        assert [stage] == own["stages"]
        assert [{**stage, "width": None}] == asked["stages"]
        assert own["plan-digest"] != asked["plan-digest"]

    def test_nothing_is_written(self, installation: Installation) -> None:
        """A preview leaves no row anywhere, and a repeat is answered anew."""
        installation.add_site("a")
        tables = (strategies, steps, commands, audit, events, secrets)

        def count() -> list[int]:
            return [len(installation.rows(table)) for table in tables]

        before = count()
        assert 200 == preview(installation).status

        assert before == count()

    def test_a_wrong_field(self, installation: Installation) -> None:
        """A wrong field is a 400 with the text of create."""
        answer = preview(installation, selector="region=")

        assert 400 == answer.status
        assert answer.detail.startswith("selector: at character 8: expected a value, found the end")

    def test_all_refusals(self, installation: Installation) -> None:
        """All that is against it is there, in the order of create, and the plan beside it as far as there is one."""
        installation.add_site("a")
        installation.add_site("b", **{"management-state": "unmanaged"})
        assert 200 == installation.create(clouds=["a"]).status

        body = preview(installation, clouds=["a", "b"], rollout={"order": "longest-first"}).body

        second, ineligible, options = body["refusals"]
        assert f"{UNABLE}Strategy of type: 'prestage' already exists" == second
        assert ineligible.startswith(f"{UNABLE}Prestage skipped 'a': Subcloud a has a step in a strategy")
        assert "Prestage skipped 'b': Subcloud is not managed." in ineligible
        assert f"{UNABLE}rollout.order needs rollout.mode window" == options
        assert ["a", "b"] == [one["name"] for one in body["excluded-subclouds"]]

    def test_unknown_names(self, installation: Installation) -> None:
        """Names of no subcloud are a refusal with an empty plan, and never stand for the whole fleet."""
        installation.add_site("a")

        body = preview(installation, clouds=["a", "x"]).body

        assert ([f"{UNABLE}Subcloud x does not exist"], 0, []) == (body["refusals"], body["sites"], body["stages"])


class TestPlanDigest:
    def test_the_same_plan(self, installation: Installation) -> None:
        """The digest of a preview lets the same strategy be created."""
        for name in ("a", "b", "c"):
            installation.add_site(name)
        digest = preview(installation).body["plan-digest"]

        assert 200 == installation.create(**{"plan-digest": digest}).status

    def test_a_site_less(self, installation: Installation) -> None:
        """A plan that has changed is a 409 with the numbers of both; nothing is created."""
        for name in ("a", "b", "c"):
            installation.add_site(name)
        digest = preview(installation).body["plan-digest"]
        installation.ask(CommandType.SUBCLOUD_UPDATE, subject="c", **{"availability-status": "offline"})

        answer = installation.create(**{"plan-digest": digest})

        assert (409, "The plan changed since the preview: it had 3 sites in 2 stages, now 2 in 1") == (
            answer.status,
            answer.detail,
        )
        assert [] == installation.rows(strategies)

    @pytest.mark.parametrize(
        "change",
        [
            {"force": "true"},
            {"release": "22.12"},
            {"rollout": {"max-failures": 3}},
            {"clouds": ["b", "c"]},
            {"max-parallel-subclouds": 7},
        ],
    )
    def test_another_plan_of_the_same_size(self, installation: Installation, change: dict[str, Any]) -> None:
        """Other sites, options or another release are another plan; the reasons of sites left out are none."""
        for name in ("a", "b", "c"):
            installation.add_site(name)
        asked = {"clouds": ["a", "b"]}
        digest = preview(installation, **asked).body["plan-digest"]
        installation.add_site("d", **{"availability-status": "offline"})
        assert digest == preview(installation, **asked).body["plan-digest"]

        answer = installation.create(**{**asked, **change, "plan-digest": digest})

        assert 409 == answer.status
        assert answer.detail.endswith("it had 2 sites in 1 stages, now 2 in 1, but other sites, stages or options")


class TestWarnings:
    def beat(self, installation: Installation, **given: Any) -> None:
        """Let a worker of all queues report itself."""
        row = {
            "process": "w/1",
            "name": "w",
            "host": "h",
            "role": "worker",
            "version": "1",
            "queues": [PRECHECKS, PREPARE, SUBCLOUDS],
            "slots": 2,
            "running": 1,
            "prechecks": 0,
            "draining": False,
            "releases": ["23.09"],
            "feeds": ["23.09"],
            "playbooks_error": "",
            "key_ids": [],
            **given,
        }
        with installation.database.write() as connection:
            now = connection.exec_driver_sql(
                "SELECT (julianday('now') - 2440587.5) * 86400.0"
                if connection.dialect.name == "sqlite"
                else "SELECT extract(epoch from clock_timestamp())::double precision"
            ).scalar_one()
            connection.execute(delete(heartbeats))
            connection.execute(insert(heartbeats).values(**row, started_epoch=now, seen_epoch=now))

    def test_room(self, installation: Installation) -> None:
        """A width above the free slots is a warning, one that fits is none."""
        for name in ("a", "b"):
            installation.add_site(name)
        self.beat(installation)

        wide = preview(installation).body["warnings"]
        narrow = preview(installation, **{"max-parallel-subclouds": 1}).body["warnings"]

        assert ["Up to 2 sites are worked on at once, and the workers have 1 free slots: others wait."] == wide
        assert [] == narrow

    def test_no_image_list(self, installation: Installation) -> None:
        """A release that workers see as a feed alone has no list of images."""
        installation.add_site("a")
        self.beat(installation, releases=[])

        (warning,) = preview(installation).body["warnings"]

        assert warning.startswith("No worker of the prepare queue has a deploy directory for release 23.09")


def test_one_at_a_time(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a preview is made another one is refused with 429, and commands go on."""
    installation.add_site("a")
    begun, go_on = Event(), Event()
    answers: list[Answer] = []

    def slow(*given: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return preview_strategy(*given)

    handlers = {CommandType.STRATEGY_PREVIEW: slow}
    from actors.coordinator import coordinator  # noqa: PLC0415 - beside its use

    monkeypatch.setattr(coordinator, "_HANDLERS", {**coordinator._HANDLERS, **handlers})
    first = Thread(target=lambda: answers.append(preview(installation)))
    first.start()
    assert begun.wait(60)

    second = preview(installation)
    created = installation.create()
    go_on.set()
    first.join(60)

    assert (429, "Another preview is being made; try again.") == (second.status, second.detail)
    assert (200, 200) == (created.status, answers[0].status)
    assert 200 == preview(installation).status


class TestExpectedDuration:
    def test_unknown(self, installation: Installation) -> None:
        """While too few phases have ended lately, or no site is chosen, the preview says so."""
        assert (None, "no site is chosen") == _expected(preview(installation))
        installation.add_site("a")
        assert (None, "too few sites have ended") == _expected(preview(installation))

    def test_from_what_ended_lately(self, installation: Installation) -> None:
        """It is the time of each phase, as often as sites come one after another, and the soak between stages."""
        for name in ("a", "b", "c", "d"):
            installation.add_site(name)
        _end_phases(installation, each_s=60.0)
        soaking = {"mode": "window", "stages": [{"name": "canary", "count": 1, "soak-s": 600}]}

        alone, _ = _expected(preview(installation, **{"max-parallel-subclouds": 1}))
        together, _ = _expected(preview(installation, rollout={"mode": "window"}, **{"max-parallel-subclouds": 4}))
        staged, _ = _expected(preview(installation, rollout=soaking, **{"max-parallel-subclouds": 4}))

        # Three phases of a minute each, of four sites.
        assert 600 < alone["p50-s"] < 900
        assert 150 < together["p50-s"] < 300
        assert 900 < staged["p50-s"] < 1200
        assert alone["p10-s"] <= alone["p50-s"] <= alone["p90-s"]


def _expected(answer: Answer) -> tuple[Any, str | None]:
    return answer.body["expected"], answer.body["expected-missing"]


def _end_phases(installation: Installation, each_s: float) -> None:
    """Have ten runs of each phase in the history, which took so long."""
    now = datetime.now(UTC)
    moments = {"started_at": now - timedelta(seconds=each_s + 60), "finished_at": now - timedelta(seconds=60)}
    rows = [
        api_rows.run(10 * place + number, phase, step_id=1, **moments)
        for place, phase in enumerate(PHASES_OF_A_SITE, start=1)
        for number in range(10)
    ]
    with installation.database.write() as connection:
        connection.execute(insert(steps), api_rows.step(1, "before", state="complete"))
        connection.execute(insert(runs), rows)
