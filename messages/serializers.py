"""Rows as the JSON objects of the wire (contract 3.1, 3.2, 4.1, 5).

Used by the API for what it reads and by the coordinator for what it answers, so that both show the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, cast, overload

from messages.inventory_schemas import Group, Subcloud
from messages.limits import PRESTAGE_VERSIONS
from messages.schemas import CountedStrategy, HistoricStrategy, Hold, Progress, Strategy
from statemachine.legal_commands import (
    STRATEGY_COMMANDS,
    refused_commands,
)
from statemachine.rollout import HoldKind, StepOutcome, StepProgress, StrategyProgress
from statemachine.states import StrategyState

# Upstream spells moments in two ways: "read" for what comes from its database, "message" for what travelled by message
# (contract 2.5). The client prints them untouched. Routes that upstream does not have say the zone.
Spelling = Literal["read", "message", "zoned"]

# A row of the database by column name; SQLAlchemy types its keys loosely.
Row = Mapping[Any, Any]

NO_ERRORS: Final = "No errors present"


@overload
def moment(value: datetime, spelling: Spelling) -> str: ...
@overload
def moment(value: datetime | None, spelling: Spelling) -> str | None: ...
def moment(value: datetime | None, spelling: Spelling) -> str | None:
    """Return a moment in UTC in one of upstream's two spellings, or with its zone. None stays None."""
    if value is None or spelling == "zoned":
        return zoned_moment(value)
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
    counted: StrategyProgress,
    blocked_by: list[str],
    expected: ExpectedEnds | None = None,
    spelling: Spelling = "read",
) -> Progress:
    """Return the progress of a strategy; `expected` is None for one that has ended."""
    numbers = {str(word): counted.numbers.get(word, 0) for word in (*StepProgress, *StepOutcome)}
    shown: Any = {
        "total": sum(numbers.values()),
        **numbers,
        "started-at": moment(counted.first_start, spelling),
        "last-change-at": moment(counted.last_change, spelling),
        "pace": 0.0 if expected is None else expected.pace,
        "eta": None
        if expected is None or expected.ends is None
        else {word: moment(one, spelling) for word, one in zip(("p10", "p50", "p90"), expected.ends, strict=True)},
        "eta-missing": None if expected is None else expected.missing or None,
        "usual": {} if expected is None else expected.usual,
        "blocked-by": blocked_by,
        "stage": None if counted.stage is None else asdict(counted.stage),
    }
    return cast("Progress", shown)


def counted_strategy_resource(
    row: Row, progress: Progress, holds: Iterable[Row], spelling: Spelling = "read"
) -> CountedStrategy:
    """Return a strategy with its progress and its open holds, as it is read."""
    return {**strategy_resource(row, spelling, holds=holds), "progress": progress}


def past_strategy_resource(
    row: Row, states: Mapping[str, int], progress: Progress, counted: StrategyProgress, holds: Iterable[Row] = ()
) -> HistoricStrategy:
    """Return a strategy of any time.

    Args:
        row: The strategy, with `retried_by`, the ids of those that retry it.

        states: How many of its steps are in each state.

        progress: As for `counted_strategy_resource`, with the zone of its moments.

        counted: As for `progress_resource`.

        holds: Its open holds.
    """
    return {
        **counted_strategy_resource(row, progress, holds, "zoned"),
        "requested-by": row["requested_by"],
        "retried-by": row["retried_by"],
        "steps": dict(sorted(states.items())),
        "started-at": zoned_moment(counted.first_start),
        "finished-at": zoned_moment(row["finished_at"]),
        "deleted-at": zoned_moment(row["deleted_at"]),
        "duration-s": duration_s(counted.first_start, row["finished_at"]),
    }


def duration_s(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds between two moments, or None while one of them is missing."""
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


@overload
def zoned_moment(value: float) -> str: ...
@overload
def zoned_moment(value: datetime | None) -> str | None: ...
def zoned_moment(value: float | datetime | None) -> str | None:
    """Return a moment in UTC, or seconds since the epoch, with the zone."""
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    return at.replace(tzinfo=UTC).isoformat(timespec="milliseconds")
