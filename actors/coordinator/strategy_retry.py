"""Retry a strategy: a new one for sites of an earlier one, whose place it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import RowMapping, exists, select

from actors.coordinator.context import CommandContext, read_body, require_password
from actors.coordinator.create_strategy import new_strategy
from actors.coordinator.errors import CommandRefusedError, conflict, not_found, unprocessable
from actors.coordinator.strategies import apply_strategy, make_history
from actors.coordinator.strategy_draft import RetriedSites, named_refs
from db.errors import ProblemNotFoundError
from db.holds import withdraw_runs
from db.inventory import ids_of_subclouds
from db.problems import find_problem
from db.schema import steps, strategies, strategy_is_active, subclouds
from messages.commands import Command
from messages.limits import is_id
from messages.requests.strategy_retry import OWN_FIELDS, StrategyRetry
from messages.schemas import CreatedStrategy
from statemachine.states import ENDED_STRATEGIES, StepState

# How a site is called that the strategy left out, and one that ended without an outcome.
_EXCLUDED: Final = "excluded"
_NOT_STARTED: Final = "not-started"
# Options of a rollout that say the same as `stop-on-failure`.
_BUDGET: Final = frozenset({"max-failures", "on-budget"})
_GONE: Final = "Its subcloud was removed."


def retry_strategy(context: CommandContext, command: Command) -> CreatedStrategy:
    """Create a strategy for sites of an earlier one, which becomes history if it is still the active one.

    So does an earlier retry of the same strategy of which no site has started. What the request does not give is as it
    was in the earlier strategy. With `apply` it starts in the same transaction.

    Raises:
        CommandRefusedError: 404 without such a strategy; 400 for the first wrong field; 409 while an earlier retry of
            it has started; 422 for a strategy that has not ended, while another one is active, where no site is left,
            and as for a new strategy. Nothing was changed.
    """
    earlier = _find_earlier(context, command)
    require_password(command, missing="subcloud sysadmin_password required")
    request = read_body(StrategyRetry, command.data)
    sites = _retried_sites(context, earlier, request)
    _make_way(context, earlier, command.requested_by)
    created = new_strategy(
        context, command.model_copy(update={"data": _create_options(earlier, command.data)}), retried=sites
    )
    context.notes.append(f"Retries strategy {earlier['id']}.")
    if not request.apply:
        return created
    applied = apply_strategy(context, command.model_copy(update={"data": {"type": created["type"]}}))
    return {**applied, "info_message": created["info_message"]}


def _find_earlier(context: CommandContext, command: Command) -> RowMapping:
    found = None
    if is_id(command.subject or ""):
        query = select(strategies).where(strategies.c.id == int(command.subject or ""))
        found = context.connection.execute(query).mappings().one_or_none()
    if found is None:
        raise not_found("Strategy not found")
    if found["deleted_at"] is None and found["state"] not in ENDED_STRATEGIES:
        raise _refusal(found, f"it is {found['state']}; only one that has ended is")
    return found


def _refusal(earlier: RowMapping, reason: str) -> CommandRefusedError:
    return unprocessable(f"Unable to retry strategy {earlier['id']}: {reason}.")


def _make_way(context: CommandContext, earlier: RowMapping, caller: str) -> None:
    """Make the active strategy history, if it is the earlier one or a retry of it that no site has started in."""
    active = context.connection.execute(select(strategies).where(strategy_is_active)).mappings().one_or_none()
    if active is None:
        return
    if active["id"] == earlier["id"] or (active["retry_of"] == earlier["id"] and active["state"] in ENDED_STRATEGIES):
        make_history(context, active, by=caller)
        return
    if active["retry_of"] != earlier["id"]:
        raise _refusal(earlier, f"strategy {active['id']} of type '{active['type']}' is active; delete it first")
    of_active = steps.c.strategy_id == active["id"]
    withdraw_runs(context.work, of_active)
    has_started = (steps.c.state != StepState.INITIAL) | steps.c.run_id.is_not(None)
    if context.connection.execute(select(exists().where(of_active, has_started))).scalar():
        raise conflict(
            f"Unable to retry strategy {earlier['id']}: its retry, strategy {active['id']}, has started. Retry that one"
            " when it has ended."
        )
    make_history(context, active, by=caller)


def _retried_sites(context: CommandContext, earlier: RowMapping, request: StrategyRetry) -> RetriedSites:
    """Return the sites of the earlier strategy that the request chooses.

    Raises:
        CommandRefusedError: 422; there is none, or one of those that it names is none of them.
    """
    problem = _problem(context, earlier, request.problem)
    rows = _sites(context, earlier)
    chosen = [row for row in rows if row["word"] in request.states and problem in (None, row["problem"])]
    which = _joined(request.states) + ("" if problem is None else f" with the problem {problem}")
    if request.clouds is not None:
        ids = ids_of_subclouds(context.connection, set(request.clouds))
        retried = {row["id"] for row in chosen if row["id"] is not None}
        unknown = [ref for ref in request.clouds if ids.get(ref) not in retried]
        if unknown:
            raise _refusal(earlier, f"{named_refs(unknown)}: not among its sites that are {which}")
        chosen = [row for row in chosen if row["id"] in ids.values()]
    if not chosen:
        raise _refusal(earlier, f"none of its sites is {which}")
    return RetriedSites(
        strategy_id=earlier["id"],
        subcloud_ids=frozenset(row["id"] for row in chosen if row["id"] is not None),
        gone=[{"name": row["name"], "reason": _GONE} for row in chosen if row["id"] is None],
        is_resumed=request.resume_from == "failed-phase",
    )


def _problem(context: CommandContext, earlier: RowMapping, begin: str | None) -> str | None:
    try:
        return None if begin is None else find_problem(context.connection, earlier["id"], begin)
    except ProblemNotFoundError as error:
        raise _refusal(earlier, str(error)) from None


def _sites(context: CommandContext, earlier: RowMapping) -> list[Mapping[str, Any]]:
    """Return name, subcloud id, problem and `word`, how it ended, of each site, and of those that were left out."""
    query = select(steps.c.subcloud_id, steps.c.subcloud_name, steps.c.outcome, steps.c.problem)
    of_steps = context.connection.execute(query.where(steps.c.strategy_id == earlier["id"]).order_by(steps.c.id))
    found: list[Mapping[str, Any]] = [
        {
            "id": row.subcloud_id,
            "name": row.subcloud_name,
            "word": row.outcome or _NOT_STARTED,
            "problem": row.problem,
        }
        for row in of_steps
    ]
    names = [one["name"] for one in earlier["excluded"]]
    if names:
        rows = context.connection.execute(select(subclouds.c.name, subclouds.c.id))
        id_of = {row.name: row.id for row in rows}
        found += [{"id": id_of.get(name), "name": name, "word": _EXCLUDED, "problem": None} for name in names]
    return found


def _joined(words: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(words))


def _create_options(earlier: RowMapping, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the new strategy as a request to create one; what is not given is as it was before."""
    options: dict[str, Any] = {
        "type": earlier["type"],
        "release": earlier["release"],
        "force": earlier["force"],
        "subcloud-apply-type": earlier["subcloud_apply_type"],
        "max-parallel-subclouds": earlier["max_parallel_subclouds"],
        "stop-on-failure": earlier["stop_on_failure"],
        "for_sw_deploy": earlier["for_sw_deploy"],
    }
    overrides = {name: value for name, value in given.items() if name not in OWN_FIELDS}
    if overrides.get("subcloud_group") is not None:
        # It excludes them in a request.
        del options["subcloud-apply-type"], options["max-parallel-subclouds"]
    if overrides.get("for_install"):
        del options["for_sw_deploy"]
    rollout = {name: value for name, value in earlier["rollout"].items() if name != "stages"}
    changes = overrides.pop("rollout", None)
    if earlier["stop_on_failure"] or overrides.get("stop-on-failure") in (True, "true"):
        rollout = {name: value for name, value in rollout.items() if name not in _BUDGET}
    if isinstance(changes, Mapping):
        if changes.get("max-failures") is not None:
            del options["stop-on-failure"]
        rollout |= changes
    elif changes is not None:
        # The model of a new strategy says what is wrong with it.
        rollout = changes
    return {**{name: value for name, value in options.items() if value is not None}, "rollout": rollout, **overrides}
