"""Rows of steps, runs and problems as the JSON objects of the wire."""

from __future__ import annotations

from collections.abc import Sequence

from messages.serializers import Row, Spelling, duration_s, hold_resource, moment, zoned_moment
from messages.step_schemas import CommandedStep, HistoricStep, Problem, Run, StandaloneStep, Step
from statemachine.failure_classes import ADVICE
from statemachine.legal_commands import (
    STEP_COMMANDS,
    StepSituation,
    refused_step_commands,
)
from statemachine.states import FailureClass, RunOutcome, StepState
from statemachine.step_details import log_path


def step_resource(row: Row, work: Row, hold: Row | None = None, spelling: Spelling = "read") -> Step:
    """Return a step.

    Args:
        row: The step.

        work: Its group and its run, as `db.read_queries.StepWork`.

        hold: The open hold of its site alone.

        spelling: How moments are written.
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
        "held": None if hold is None else hold_resource(hold, spelling),
        "cancel-requested-by": row["cancel_requested_by"],
        "proved-by": row["proved_by"],
        "series": row["series"],
        "group": work["group"],
        "attempt": work["attempt"],
        "run-state": work["run_state"],
        "worker": work["worker"],
        "phase-started-at": moment(work["since"], spelling),
        "usual-s": work["usual_s"],
        "started-at": moment(row["started_at"], spelling),
        "finished-at": moment(row["finished_at"], spelling),
        "created-at": moment(row["created_at"], spelling),
        "updated-at": moment(row["updated_at"], spelling),
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
        "queued-at": zoned_moment(row["dispatched_at"]),
        "started-at": zoned_moment(row["started_at"]),
        "finished-at": zoned_moment(row["finished_at"]),
        "log": f"/v1.0/runs/{row['id']}/log" if row["has_text"] else None,
        "removed-releases": _removed(row),
    }


def _removed(row: Row) -> list[str] | None:
    if row["phase"] != StepState.UNSTAGING or row["outcome"] != RunOutcome.SUCCEEDED:
        return None
    found = (row["facts"] or {}).get("removed_releases")
    # A playbook of somebody else's may report anything.
    return [str(one) for one in found] if isinstance(found, list) else []


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
        "first": zoned_moment(row["first"]),
        "last": zoned_moment(row["last"]),
        "sample": {"cloud": name, "details": newest["details"], "log": log_path(name, phase)},
        "retryable": advice.retryable,
        "advice": advice.text,
    }


def past_step_resource(row: Row, work: Row) -> HistoricStep:
    """Return a step of a strategy of any time; see `step_resource`."""
    return {
        **step_resource(row, work, spelling="zoned"),
        "release": row["release"],
        "from-version": row["from_version"],
        "duration-s": duration_s(row["started_at"], row["finished_at"]),
    }


def standalone_step_resource(row: Row, work: Row, caller: str | None) -> StandaloneStep:
    """Return a step of no strategy, with the caller who asked for it; see `step_resource`."""
    return {
        **past_step_resource(row, work),
        "type": row["type"],
        "requested-by": caller,
        "runs": f"/v1.0/steps/{row['id']}/runs",
    }
