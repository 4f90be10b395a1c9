"""What a scrape tells of the database, and that every name in alerts and dashboards is one that is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from time import monotonic

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, insert, select, update

from db.database import Database
from db.errors import DatabaseUnavailableError
from db.forecasts import Forecast, keep_forecast
from db.holds import hold_clock
from db.schema import holds, problems, steps, strategies, webhook_deliveries, webhooks
from monitoring import scrape_metrics as question
from monitoring.metrics import ProcessMetrics
from monitoring.scrape_metrics import DatabaseMetrics, DeadLetterMetrics
from statemachine.actions import OpenHold
from statemachine.rollout import HoldKind, HoldScope, StepOutcome, StepProgress
from statemachine.states import RunOutcome
from tests.integration.db.db_rows import AT, InstallationRows
from tests.support.waiting import wait_for

MONITORING = Path(__file__).parents[3] / "deploy" / "monitoring"
Values = dict[tuple[str, tuple[str, ...]], float]


def scraped(registry: CollectorRegistry) -> Values:
    """Return every value by name and the values of its labels."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def clock() -> list[float]:
    """The time; a test may change it."""
    return [1000.0]


@pytest.fixture
def facts(database: Database, clock: list[float]) -> Iterator[DatabaseMetrics]:
    """Give the collector."""
    facts = DatabaseMetrics(database, lambda: clock[0])
    yield facts
    facts.close()


def at_work(database: Database) -> None:
    """Bring a strategy of two stages to where one of two sites is being staged."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(3)
        installation.add_subclouds(1, first=9, availability_status="offline")
        installation.add_strategy({1: 1, 2: 1, 3: 2})
        installation.coordinate()
        installation.claim(installation.queued()[0])


def test_the_work(database: Database, facts: DatabaseMetrics) -> None:
    """Strategy, steps, window, runs and subclouds are told as the rows have them."""
    at_work(database)
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    assert {
        ("prestager_database_up", ()): 1.0,
        ("prestager_strategy", ("applying",)): 1.0,
        ("prestager_strategy_steps", ("initial",)): 2.0,
        ("prestager_strategy_steps", ("prestage-precheck",)): 1.0,
        ("prestager_window_limit", ()): 2.0,
        ("prestager_window_used", ()): 2.0,
        ("prestager_runs", ("prestage-precheck", "queued")): 1.0,
        ("prestager_runs", ("prestage-precheck", "running")): 1.0,
        ("prestager_workers_at_work", ()): 1.0,
        ("prestager_outbox_rows", ()): 2.0,
        ("prestager_subclouds", ("online", "managed")): 3.0,
        ("prestager_subclouds", ("offline", "managed")): 1.0,
        ("prestager_strategy_progress_timestamp_seconds", ()): AT.timestamp(),
    }.items() <= found.items()
    assert 0.0 <= found["prestager_outbox_lag_seconds", ()] < 60.0
    assert found["prestager_events_unpublished", ()] > 0


def test_failures_by_phase_and_class(database: Database, facts: DatabaseMetrics) -> None:
    """Steps that did not succeed are counted by phase and class, whatever their problems."""
    at_work(database)
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.claim(installation.queued()[0])
        for number, run_id in enumerate(installation.running()):
            installation.finish(run_id, RunOutcome.FAILED, f"{'x' * number}: No space left on device")
        installation.coordinate()
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    assert found["prestager_strategy_failures", ("space", "prestage-precheck")] == 2.0


def test_the_end_of_a_hold_is_progress(database: Database, facts: DatabaseMetrics) -> None:
    """Open holds are told by kind; the end of one counts as the last change, so that no rest is told after a resume."""
    at_work(database)
    ended = AT + timedelta(hours=1)
    common = {"strategy_id": 1, "scope": "starts", "reason": "", "by": "alice", "since": AT}
    with database.write() as connection:
        connection.execute(insert(holds), [{**common, "kind": "operator", "ended_at": ended, "ended_by": "alice"}])
        connection.execute(insert(holds), [{**common, "kind": "budget"}])
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    assert ended.timestamp() == found["prestager_strategy_progress_timestamp_seconds", ()]
    assert (0.0, 1.0) == tuple(found["prestager_strategy_holds", (kind,)] for kind in ("operator", "budget"))


def test_the_age_of_holds(database: Database, facts: DatabaseMetrics) -> None:
    """The oldest open hold of each kind is told by its age, by the database's clock; where there is none, 0."""
    at_work(database)
    with database.write() as connection:
        now = hold_clock(connection)
        common = {"strategy_id": 1, "scope": "starts", "reason": "", "by": "alice"}
        for kind, minutes, values in (
            ("gate", 40, {"stage": 1}),
            ("operator", 90, {"ended_at": now, "ended_by": "alice"}),
            ("operator", 20, {}),
            ("operator", 50, {"step_id": 1}),
        ):
            since = now - timedelta(minutes=minutes)
            connection.execute(insert(holds).values(**common, kind=kind, since=since, **values))
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    ages = {kind: found["prestager_strategy_hold_seconds", (kind,)] for kind in ("gate", "operator", "site", "soak")}
    assert {"gate": 2400.0, "operator": 1200.0, "site": 3000.0, "soak": 0.0} == pytest.approx(ages, abs=30)
    assert {1.0} == {found["prestager_strategy_holds", (kind,)] for kind in ("gate", "operator", "site")}


def test_progress_and_likely_end(database: Database, facts: DatabaseMetrics) -> None:
    """Steps are told by how far they are, and the seconds until the likely end while there is a forecast."""
    at_work(database)
    with database.write() as connection:
        now = hold_clock(connection)
        ends = (now, now + timedelta(minutes=5), now + timedelta(minutes=9))
        keep_forecast(connection, 1, now.timestamp(), Forecast(ends=ends))
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    counts = {
        labels[0]: value for (name, labels), value in found.items() if name == "prestager_strategy_progress_steps"
    }
    assert {*StepProgress, *StepOutcome} == counts.keys()
    assert counts["running"] > 0
    assert sum(counts.values()) == sum(
        value for (name, _), value in found.items() if name == "prestager_strategy_steps"
    )
    assert 300.0 == pytest.approx(found["prestager_strategy_eta_seconds", ()], abs=60)

    with database.write() as connection:
        keep_forecast(connection, 1, now.timestamp() + 1, Forecast(missing="held by alice"))
    fresh = CollectorRegistry()
    fresh.register(DatabaseMetrics(database))
    assert ("prestager_strategy_eta_seconds", ()) not in scraped(fresh)


@pytest.mark.parametrize(
    ("mode", "held", "movable"),
    [
        # Of three sites in two stages one runs, one waits in its stage, and one in the next.
        ("stages", [], 2),
        ("stages", [{"scope": "starts"}], 1),
        ("stages", [{"scope": "phases"}], 1),
        ("stages", [{"step_id": 2, "scope": "phases"}], 1),
        ("window", [{"step_id": 2, "scope": "phases"}], 2),
        ("window", [{"stage": 1, "scope": "starts"}], 2),
        ("window", [{"step_id": 2, "scope": "phases"}, {"step_id": 3, "scope": "phases"}], 1),
        ("stages", [{"scope": "starts", "ended_at": AT}], 2),
    ],
)
def test_what_holds_explain(
    database: Database, facts: DatabaseMetrics, mode: str, held: list[dict[str, object]], movable: int
) -> None:
    """Steps that could move are told apart from those that holds or the stage before keep; a site's holds too."""
    common = {"strategy_id": 1, "kind": "operator", "reason": "", "by": "alice", "since": AT}
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(3)
        installation.add_strategy({1: 1, 2: 1, 3: 2})
        installation.coordinate()
        installation.claim(installation.queued()[0])
        connection.execute(update(steps).where(steps.c.id > 1).values(run_id=None))
        connection.execute(update(strategies).values(mode=mode))
        for one in held:
            connection.execute(insert(holds).values(**common, **one))
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    assert movable == found["prestager_strategy_movable_steps", ()]
    of_sites = [one for one in held if "step_id" in one]
    assert len(of_sites) == found["prestager_strategy_holds", ("site",)]


def test_nothing_moves_under_holds(database: Database, facts: DatabaseMetrics) -> None:
    """No step can move while all of the open stage that have started wait between two phases under a hold."""
    with database.write() as connection:
        installation = InstallationRows(connection)
        installation.add_subclouds(2)
        strategy_id = installation.add_strategy({1: 1, 2: 2})
        installation.coordinate()
        installation.carry_out(
            OpenHold(strategy_id=strategy_id, kind=HoldKind.OPERATOR, scope=HoldScope.PHASES, reason="")
        )
        assert not installation.queued()
    registry = CollectorRegistry()
    registry.register(facts)

    assert 0.0 == scraped(registry)["prestager_strategy_movable_steps", ()]


def test_webhooks(database: Database, facts: DatabaseMetrics) -> None:
    """Webhooks are told by what became of them, deliveries that are still to be made by number and age; no name is."""
    now = datetime.now(UTC)
    webhook = {
        "types": [],
        "sealed": "",
        "bound_to": "",
        "cursor": 0,
        "created_at": now,
        "url": "http://secret.example",
    }
    delivery = {"type": "t", "subject": "s", "cause": "event", "state": "", "attempts": 1, "error": "", "webhook_id": 1}
    with database.write() as connection:
        for number, (enabled, reason) in enumerate([(True, ""), (True, ""), (False, ""), (False, "gone")], start=1):
            values = {"id": number, "name": f"name{number}", "enabled": enabled, "disabled_reason": reason}
            connection.execute(insert(webhooks).values(**webhook, **values))
        for age_s, next_attempt_at in ((500, 1.0), (100, 1.0), (9000, None)):
            made_at = now - timedelta(seconds=age_s)
            connection.execute(
                insert(webhook_deliveries).values(**delivery, created_at=made_at, next_attempt_at=next_attempt_at)
            )
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    assert {
        ("prestager_webhooks", ("enabled",)): 2.0,
        ("prestager_webhooks", ("disabled",)): 1.0,
        ("prestager_webhooks", ("given-up",)): 1.0,
        ("prestager_webhook_deliveries_open", ()): 2.0,
        ("prestager_webhook_oldest_open_seconds", ()): pytest.approx(500, abs=30),
    }.items() <= found.items()
    assert "name1" not in generate_latest(registry).decode()


def test_nothing_to_tell(facts: DatabaseMetrics) -> None:
    """Without a strategy no metric has one; there are no holds and no steps."""
    registry = CollectorRegistry()
    registry.register(facts)
    found = scraped(registry)

    names = {name for name, _ in found if name.startswith(("prestager_strategy", "prestager_window"))}
    assert {
        "prestager_strategy_holds",
        "prestager_strategy_hold_seconds",
        "prestager_strategy_movable_steps",
    } == names
    assert {0.0} == {value for (name, _), value in found.items() if name in names}


def test_asked_once_for_many(database: Database, facts: DatabaseMetrics, clock: list[float]) -> None:
    """Scrapes within five seconds get the same answer; later ones a new one."""
    registry = CollectorRegistry()
    registry.register(facts)
    first = scraped(registry)
    at_work(database)
    soon = scraped(registry)
    clock[0] += 6
    later = scraped(registry)

    assert first == soon
    assert ("prestager_strategy", ("applying",)) in later


def test_a_database_that_is_away(database: Database, facts: DatabaseMetrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the database breaks, a scrape says so and tells nothing else of it; afterwards it tells all again."""
    registry = CollectorRegistry()
    registry.register(facts)

    def away() -> None:
        raise DatabaseUnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(database, "read", away)
        broken = scraped(registry)

    assert {("prestager_database_up", ()): 0.0} == broken
    assert 1.0 == scraped(registry)["prestager_database_up", ()]


def test_a_database_that_says_nothing(
    database: Database, facts: DatabaseMetrics, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape waits a bounded time, and the next ones do not ask once more while the first question is open."""
    monkeypatch.setattr(question, "_WAIT_S", 0.2)
    registry = CollectorRegistry()
    registry.register(facts)
    answers, asked = Event(), []
    read = database.read

    def silent() -> AbstractContextManager[Connection]:
        asked.append(1)
        answers.wait(30)
        return read()

    monkeypatch.setattr(database, "read", silent)
    began = monotonic()
    silence = [scraped(registry), scraped(registry)]
    took = monotonic() - began
    answers.set()

    assert [{("prestager_database_up", ()): 0.0}] * 2 == silence
    assert (1, True) == (len(asked), took < 25)
    wait_for(lambda: scraped(registry).get(("prestager_database_up", ())) == 1.0)


def test_dead_letters(clock: list[float]) -> None:
    """Dead letters are told by queue, asked for once a minute; a broker that is away is told."""
    counts: list[Callable[[], dict[str, int | None]]] = [lambda: {"a": 2, "never made": None}]
    registry = CollectorRegistry()
    registry.register(DeadLetterMetrics(lambda: counts[-1](), lambda: clock[0]))  # noqa: PLW0108 - the last one counts
    first = scraped(registry)
    counts.append(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    second = scraped(registry)
    clock[0] += 61

    assert {("prestager_broker_up", ()): 1.0, ("prestager_dead_letters", ("a",)): 2.0} == first == second
    assert {("prestager_broker_up", ()): 0.0} == scraped(registry)


def test_a_broker_that_says_nothing(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape waits a bounded time for the broker, tells that it is away, and when it answers tells all again."""
    monkeypatch.setattr(question, "_WAIT_S", 0.2)
    answers = Event()

    def silent() -> dict[str, int | None]:
        answers.wait(30)
        return {"a": 2}

    registry = CollectorRegistry()
    registry.register(DeadLetterMetrics(silent, lambda: clock[0]))
    began = monotonic()
    silence = [scraped(registry), scraped(registry)]
    took = monotonic() - began
    answers.set()

    assert [{("prestager_broker_up", ()): 0.0}] * 2 == silence
    assert took < 25
    wait_for(lambda: scraped(registry).get(("prestager_dead_letters", ("a",))) == 2.0)


def test_names_in_alerts_and_dashboards(database: Database, facts: DatabaseMetrics) -> None:
    """Every metric of ours that an alert or a dashboard names is told by some process."""
    at_work(database)
    metrics = ProcessMetrics()
    metrics.registry.register(facts)
    metrics.registry.register(DeadLetterMetrics(lambda: {"a": 0}))
    metrics.watch_slots(4, lambda: 3)
    metrics.command_answered("strategy.apply", 200)
    metrics.run_claimed("prestaging-images", 0.1)
    metrics.run_ended("prestaging-images", "succeeded", 3.0)
    metrics.lease_lost()
    metrics.result_fenced()
    metrics.webhook_tried("delivered")
    metrics.request_answered("GET", "/v1.0/subclouds", 200, 0.01)
    with database.write() as connection:
        connection.execute(update(steps).values(updated_at=AT))
        of_strategy = {"strategy_id": connection.execute(select(strategies.c.id)).scalar_one()}
        made = Forecast(ends=(AT, AT, AT))
        keep_forecast(connection, **of_strategy, made_epoch=hold_clock(connection).timestamp(), made=made)
        about = {"phase": "prestaging-images", "failure_class": "space", "task": "", "text": "no room"}
        connection.execute(insert(problems).values(**of_strategy, id="a" * 12, **about))
        connection.execute(update(steps).where(steps.c.id == 1).values(problem="a" * 12))
    told = {name for name, _ in scraped(metrics.registry)}

    named: set[str] = set()
    for file in (MONITORING / "alerts.yml", MONITORING / "grafana" / "prestager.json"):
        named |= set(re.findall(r"\bprestager_[a-z_]+", file.read_text()))
    assert len(named) > 15
    assert named <= told
    assert 1.0 == next(
        value for (name, _), value in scraped(metrics.registry).items() if name == "prestager_playbook_slots_used"
    )


@pytest.mark.parametrize("name", ["prestager", "rabbitmq"])
def test_dashboards(name: str) -> None:
    """A dashboard is JSON that Grafana takes: it has a schema, and panels that tell what they show, side by side."""
    board = json.loads((MONITORING / "grafana" / f"{name}.json").read_text())
    places = [panel["gridPos"] for panel in board["panels"]]

    assert board["schemaVersion"] >= 36
    assert len(board["panels"]) == len({panel["id"] for panel in board["panels"]})
    assert all(panel["targets"] and panel["description"] for panel in board["panels"])
    legends = [target["legendFormat"] for panel in board["panels"] for target in panel["targets"]]
    assert all(legend and legend != "__auto" for legend in legends)
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
