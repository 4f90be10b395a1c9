"""Stages that the rollout of a new strategy names: their subclouds are looked up, and what is left out is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.coordinator.context import CommandContext
from actors.coordinator.rollout import StepPlaces
from db.inventory import ids_of_subclouds
from messages.schemas import Excluded
from statemachine.eligibility import skipped
from statemachine.rollout_stages import StageRule
from statemachine.selector import parse_selector


@dataclass(frozen=True, kw_only=True)
class NamedStages:
    """Stages that a rollout names, and what is against the subclouds in them.

    Attributes:
        rules: The stages.

        unknown: Names and ids that are of no subcloud.

        against: Why named subclouds are none of the strategy's: a sentence each.
    """

    rules: Sequence[StageRule]
    unknown: Sequence[str]
    against: Sequence[str]


def named_stages(
    context: CommandContext,
    options: Mapping[str, Any],
    eligible: Iterable[Mapping[str, Any]],
    excluded: Iterable[Excluded],
) -> NamedStages | None:
    """Return the stages that counted options name; None: they name none.

    Args:
        context: The transaction.

        options: Options of the rollout that count, by their names on the wire.

        eligible: Rows of the subclouds that the strategy has.

        excluded: Name and reason of those that it leaves out.
    """
    stages = options.get("stages")
    if stages is None:
        return None
    refs = dict.fromkeys(ref for stage in stages for ref in stage.get("clouds") or ())
    ids = ids_of_subclouds(context.connection, set(refs))
    chosen = {row["id"] for row in eligible}
    reasons = {ids.get(one["name"]): one["reason"] for one in excluded}
    return NamedStages(
        rules=[_rule(stage, ids) for stage in stages],
        unknown=[ref for ref in refs if ref not in ids],
        against=[
            reasons.get(ids[ref]) or skipped(ref, "Subcloud is not among the sites of the strategy.").text
            for ref in refs
            if ref in ids and ids[ref] not in chosen
        ],
    )


def _rule(stage: Mapping[str, Any], ids: Mapping[str, int]) -> StageRule:
    named, selector = stage.get("clouds"), stage.get("selector")
    return StageRule(
        name=stage["name"],
        named=None if named is None else frozenset(ids[ref] for ref in named if ref in ids),
        selector=None if selector is None else parse_selector(selector),
        count=stage.get("count"),
        percent=stage.get("percent"),
        max_parallel=stage.get("max-parallel"),
        max_failures=stage.get("max-failures"),
    )


def empty_stages(options: Mapping[str, Any], places: StepPlaces) -> str | None:
    """Return the sentence about stages that no site matches; None: there are none."""
    numbered = {one.name for one in places.stages}
    empty = [stage["name"] for stage in options.get("stages") or () if stage["name"] not in numbered]
    return f"No site is in these stages, which were left out: {', '.join(empty)}." if empty else None
