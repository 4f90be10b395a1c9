"""Rows as the JSON objects of the wire (contract 3.1, 3.2, 4.1, 5).

Used by the API for what it reads and by the coordinator for what it answers, so that both show the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, cast, overload

from messages.inventory_schemas import Group, Subcloud
from messages.limits import PRESTAGE_VERSIONS
from messages.process_schemas import KnownCaller, Release, WebhookState, Worker
from messages.schemas import (
    AuditEntry,
    CommandedStep,
    CountedStrategy,
    Delivery,
    HistoricStep,
    HistoricStrategy,
    Hold,
    Problem,
    Progress,
    Run,
    StandaloneStep,
    Step,
    Strategy,
    Webhook,
)
from statemachine.failure_classes import ADVICE
from statemachine.legal_commands import (
    STEP_COMMANDS,
    STRATEGY_COMMANDS,
    StepSituation,
    refused_commands,
    refused_step_commands,
)
from statemachine.rollout import HoldKind, StepOutcome, StepProgress, StrategyProgress
from statemachine.states import FailureClass, StrategyState
from statemachine.step_details import log_path

# Upstream spells moments in two ways: "read" for what comes from its database, "message" for what travelled by message
# (contract 2.5). The client prints them untouched.
Spelling = Literal["read", "message"]

# A row of the database by column name; SQLAlchemy types its keys loosely.
Row = Mapping[Any, Any]

NO_ERRORS: Final = "No errors present"


@overload
def moment(value: datetime, spelling: Spelling) -> str: ...
@overload
def moment(value: datetime | None, spelling: Spelling) -> str | None: ...
def moment(value: datetime | None, spelling: Spelling) -> str | None:
    """Return a moment in one of upstream's two spellings, without a zone; it is in UTC or has none. None stays None."""
    if value is None:
        return None
    naive = value if value.tzinfo is None else value.replace(tzinfo=None)
    if spelling == "message":
        return naive.isoformat(timespec="microseconds")
    return naive.isoformat(sep=" ")


def strategy_resource(
    row: Row, spelling: Spelling, *, state: StrategyState | None = None, holds: Iterable[Row] = ()
) -> Strategy:
    """Return a strategy with its open holds; `state` overrides the row's.

    The password is not a key of `extra-args` in any form.
    """
    shown = [hold_resource(hold, spelling, row) for hold in holds]
    refused = refused_commands(
        state or row["state"],
        {hold["kind"] for hold in shown},
        row["rollout"].get("stages") or (),
        is_deleted=row["deleted_at"] is not None,
    )
    return {
        "id": row["id"],
        "type": row["type"],
        "subcloud-apply-type": row["subcloud_apply_type"],
        "max-parallel-subclouds": row["max_parallel_subclouds"],
        "stop-on-failure": bool(row["stop_on_failure"]),
        "state": state or row["state"],
        "created-at": moment(row["created_at"], spelling),
        "updated-at": moment(row["updated_at"], spelling),
        "extra-args": {
            "force": bool(row["force"]),
            "prestage-software-version": row["release"],
            "for_sw_deploy": bool(row["for_sw_deploy"]),
        },
        # Ours: what create left out and why; the client ignores keys it does not know.
        "excluded-subclouds": row["excluded"],
        "rollout": row["rollout"],
        "holds": shown,
        "commands": [command for command in STRATEGY_COMMANDS if command not in refused],
        "commands-refused": refused,
        "retry-of": row["retry_of"],
        "limit-reached": row["limit_reached"],
    }


def hold_resource(row: Row, spelling: Spelling, strategy: Row | None = None) -> Hold:
    """Return a hold; one between two stages needs the strategy, which says who may approve."""
    gated = strategy if strategy is not None and row["kind"] == HoldKind.GATE else None
    return {
        "id": row["id"],
        "kind": row["kind"],
        "scope": row["scope"],
        "stage": row["stage"],
        "reason": row["reason"],
        "since": moment(row["since"], spelling),
        "by": row["by"],
        "until": moment(row["until"], spelling),
        "approvers": None if gated is None else gated["rollout"].get("approvers"),
        "barred": None if gated is None or not _is_gate_asked_for(gated, row["stage"]) else gated["requested_by"],
    }


def _is_gate_asked_for(strategy: Row, number: int) -> bool:
    return any(one["stage"] == number and one.get("gate") is not None for one in strategy["rollout"]["stages"])


def step_resource(row: Row, work: Row, hold: Row | None = None) -> Step:
    """Return a step.

    Args:
        row: The step.

        work: Its group and its run, as `db.read_queries.StepWork`.

        hold: The open hold of its site alone.
    """
    return {
        "id": row["id"],
        "cloud": row["subcloud_name"],
        "stage": row["stage"],
        "state": row["state"],
        "details": row["details"],
        "outcome": row["outcome"],
        "class": row["failure_class"],
        "problem": row["problem"],
        "held": None if hold is None else hold_resource(hold, "read"),
        "cancel-requested-by": row["cancel_requested_by"],
        "proved-by": row["proved_by"],
        "series": row["series"],
        "group": work["group"],
        "attempt": work["attempt"],
        "run-state": work["run_state"],
        "worker": work["worker"],
        "phase-started-at": moment(work["since"], "read"),
        "usual-s": work["usual_s"],
        "started-at": moment(row["started_at"], "read"),
        "finished-at": moment(row["finished_at"], "read"),
        "created-at": moment(row["created_at"], "read"),
        "updated-at": moment(row["updated_at"], "read"),
    }


def commanded_step_resource(row: Row, work: Row, hold: Row | None, situation: StepSituation) -> CommandedStep:
    """Return a step with the commands that are legal for it now; the others are as for `step_resource`."""
    refused = refused_step_commands(situation)
    return {
        **step_resource(row, work, hold),
        "commands": [command for command in STEP_COMMANDS if command not in refused],
        "commands-refused": refused,
    }


def run_resource(row: Row, step: Row, worker: str | None) -> Run:
    """Return a run of a step; `row` is one of `db.run_output.runs_of_step`, `worker` the name of its worker."""
    return {
        "id": row["id"],
        "step": step["id"],
        "cloud": step["subcloud_name"],
        "phase": row["phase"],
        "attempt": row["attempt"],
        "shared": row["preparation_id"] is not None,
        "state": row["state"],
        "outcome": row["outcome"],
        "details": row["details"],
        "class": row["failure_class"],
        "problem": row["problem"],
        "worker": worker,
        "queued-at": _zoned(row["dispatched_at"]),
        "started-at": _zoned(row["started_at"]),
        "finished-at": _zoned(row["finished_at"]),
        "log": f"/v1.0/runs/{row['id']}/log" if row["has_text"] else None,
    }


def problem_resource(row: Row, sites: Sequence[Row]) -> Problem:
    """Return a problem; `row` and `sites` are those of `db.problems.ProblemCounts`."""
    newest, phase = sites[0], row["phase"]
    advice = ADVICE[FailureClass(row["failure_class"])]
    name = newest["subcloud_name"]
    return {
        "id": row["id"],
        "phase": phase,
        "class": row["failure_class"],
        "task": row["task"],
        "text": row["text"],
        "count": row["number"],
        "clouds": [site["subcloud_name"] for site in sites],
        "first": moment(row["first"], "read"),
        "last": moment(row["last"], "read"),
        "sample": {"cloud": name, "details": newest["details"], "log": log_path(name, phase)},
        "retryable": advice.retryable,
        "advice": advice.text,
    }


class ExpectedEnds(Protocol):
    """Likely end of a strategy; see `db.forecasts.Forecast`."""

    @property
    def ends(self) -> tuple[datetime, datetime, datetime] | None:
        """Moments that come before the end in 10, 50 and 90 of 100 cases."""

    @property
    def missing(self) -> str:
        """Reason for no moments."""

    @property
    def pace(self) -> float:
        """Sites that end per minute."""

    @property
    def usual(self) -> Mapping[str, float]:
        """Usual seconds by phase."""


def progress_resource(
    counted: StrategyProgress, blocked_by: list[str], expected: ExpectedEnds | None = None
) -> Progress:
    """Return the progress of a strategy; `expected` is None for one that has ended."""
    numbers = {str(word): counted.numbers.get(word, 0) for word in (*StepProgress, *StepOutcome)}
    shown: Any = {
        "total": sum(numbers.values()),
        **numbers,
        "started-at": moment(counted.first_start, "read"),
        "last-change-at": moment(counted.last_change, "read"),
        "pace": 0.0 if expected is None else expected.pace,
        "eta": None
        if expected is None or expected.ends is None
        else {word: moment(one, "read") for word, one in zip(("p10", "p50", "p90"), expected.ends, strict=True)},
        "eta-missing": None if expected is None else expected.missing or None,
        "usual": {} if expected is None else expected.usual,
        "blocked-by": blocked_by,
        "stage": None if counted.stage is None else asdict(counted.stage),
    }
    return cast("Progress", shown)


def counted_strategy_resource(row: Row, progress: Progress, holds: Iterable[Row]) -> CountedStrategy:
    """Return a strategy with its progress and its open holds, as it is read."""
    return {**strategy_resource(row, "read", holds=holds), "progress": progress}


def past_strategy_resource(
    row: Row, states: Mapping[str, int], progress: Progress, counted: StrategyProgress, holds: Iterable[Row] = ()
) -> HistoricStrategy:
    """Return a strategy of any time.

    Args:
        row: The strategy, with `retried_by`, the ids of those that retry it.

        states: How many of its steps are in each state.

        progress: As for `counted_strategy_resource`.

        counted: As for `progress_resource`.

        holds: Its open holds.
    """
    return {
        **counted_strategy_resource(row, progress, holds),
        "requested-by": row["requested_by"],
        "retried-by": row["retried_by"],
        "steps": dict(sorted(states.items())),
        "started-at": moment(counted.first_start, "read"),
        "finished-at": moment(row["finished_at"], "read"),
        "deleted-at": moment(row["deleted_at"], "read"),
        "duration-s": _seconds(counted.first_start, row["finished_at"]),
    }


def past_step_resource(row: Row, work: Row) -> HistoricStep:
    """Return a step of a strategy of any time; see `step_resource`."""
    return {
        **step_resource(row, work),
        "release": row["release"],
        "from-version": row["from_version"],
        "duration-s": _seconds(row["started_at"], row["finished_at"]),
    }


def standalone_step_resource(row: Row, work: Row, caller: str | None) -> StandaloneStep:
    """Return a step of no strategy, with the caller who asked for it; see `step_resource`."""
    return {
        **past_step_resource(row, work),
        "type": row["type"],
        "requested-by": caller,
        "runs": f"/v1.0/steps/{row['id']}/runs",
    }


def audit_resource(row: Row) -> AuditEntry:
    """Return one entry of the audit."""
    return {
        "id": row["id"],
        "at": moment(row["at"], "read"),
        "caller": row["caller"],
        "origin": row["origin"] or None,
        "user-id": row["user_id"],
        "command-id": row["command_id"],
        "type": row["type"],
        "subject": row["subject"],
        "status": row["status"],
        "detail": row["detail"],
    }


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else round((end - start).total_seconds(), 3)


def subcloud_resource(row: Row, spelling: Spelling = "read") -> Subcloud:
    """Return a subcloud with every key that the client's constructor needs."""
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "location": row["location"],
        "software-version": row["software_version"],
        "management-state": row["management_state"],
        "availability-status": row["availability_status"],
        "deploy-status": row["deploy_status"],
        "prestage-status": row["prestage_status"],
        "prestage-versions": row[PRESTAGE_VERSIONS],
        "error-description": row["error_description"],
        "region-name": row["region_name"],
        "management-subnet": row["management_subnet"],
        "management-start-ip": row["management_start_ip"],
        "management-end-ip": row["management_end_ip"],
        "management-gateway-ip": row["management_gateway_ip"],
        "systemcontroller-gateway-ip": row["systemcontroller_gateway_ip"],
        "openstack-installed": row["openstack_installed"],
        "group_id": row["group_id"],
        "data_install": row["data_install"],
        "system-mode": row["system_mode"],
        "management-alarms": row["management_alarms"],
        "labels": row["labels"],
        "created-at": moment(row["created_at"], spelling),
        "updated-at": moment(row["updated_at"], spelling),
        "backup-status": None,
        "backup-datetime": None,
        "data_upgrade": None,
    }


def group_resource(row: Row) -> Group:
    """Return a subcloud group."""
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "update_apply_type": row["update_apply_type"],
        "max_parallel_subclouds": row["max_parallel_subclouds"],
        "rollout": row["rollout"],
        "created-at": moment(row["created_at"], "read"),
        "updated-at": moment(row["updated_at"], "read"),
    }


def webhook_resource(row: Row) -> Webhook:
    """Return a webhook."""
    return {
        "id": row["id"],
        "name": row["name"],
        "url": row["url"],
        "types": row["types"],
        "subcloud": row["subcloud"],
        "enabled": bool(row["enabled"]),
        "disabled-at": moment(row["disabled_at"], "read"),
        "disabled-reason": row["disabled_reason"] or None,
        "failing-since": _clock_moment(row["failing_since"]),
        "old-secret-until": _clock_moment(row["old_until"]),
        "created-at": moment(row["created_at"], "read"),
        "updated-at": moment(row["updated_at"], "read"),
    }


def delivery_resource(row: Row) -> Delivery:
    """Return one entry of the delivery log."""
    return {
        "id": row["id"],
        "webhook-id": row["webhook_id"],
        "event-id": row["event_id"],
        "type": row["type"],
        "subject": row["subject"],
        "cause": row["cause"],
        "state": row["state"],
        "attempts": row["attempts"],
        "next-attempt-at": _clock_moment(row["next_attempt_at"]),
        "status": row["last_status"],
        "error": row["error"] or None,
        "duration-s": row["duration_s"],
        "attempted-at": moment(row["attempted_at"], "read"),
        "created-at": moment(row["created_at"], "read"),
        "finished-at": moment(row["finished_at"], "read"),
    }


def _clock_moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment(datetime.fromtimestamp(seconds, UTC), "read")


def caller_resource(name: str, roles: Iterable[str], project: str | None) -> KnownCaller:
    """Return a caller."""
    return {"name": name, "roles": sorted(roles), "project": project}


def worker_resource(row: Row) -> Worker:
    """Return a process; `row` is one of `db.heartbeats.all_processes`."""
    return {
        "id": row["process"],
        "name": row["name"],
        "host": row["host"],
        "roles": row["role"].split("+"),
        "version": row["version"],
        "queues": row["queues"],
        "slots": row["slots"],
        "running": row["running"],
        "prechecks": row["prechecks"],
        "draining": bool(row["draining"]),
        "releases": row["releases"],
        "feeds": row["feeds"],
        "playbooks-error": row["playbooks_error"],
        "key-ids": row["key_ids"],
        "alive": bool(row["alive"]),
        "started-at": _zoned(row["started_epoch"]),
        "last-seen-at": _zoned(row["seen_epoch"]),
        "last-seen-s": round(row["age_s"], 1),
    }


def release_resource(release: str, workers: Iterable[Row]) -> Release:
    """Return a release of the controller; `workers` are rows of `db.heartbeats.living_processes`."""
    seeing = [row for row in workers if release in row["releases"]]
    return {
        "release": release,
        "workers": sorted({row["name"] for row in seeing}),
        "has-feed": any(release in (row["feeds"] or ()) for row in seeing),
    }


def webhook_state(row: Row) -> WebhookState:
    """Return whether a webhook works, without its address, which may hold a secret."""
    return {
        "id": row["id"],
        "name": row["name"],
        "enabled": bool(row["enabled"]),
        "disabled-reason": row["disabled_reason"] or None,
        "failing-since": _clock_moment(row["failing_since"]),
    }


@overload
def _zoned(value: float) -> str: ...
@overload
def _zoned(value: datetime | None) -> str | None: ...
def _zoned(value: float | datetime | None) -> str | None:
    """Return a moment, or seconds since the epoch, with its zone."""
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    return at.isoformat(timespec="milliseconds")
