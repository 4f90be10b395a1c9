"""Draft of a strategy: as a request would create it now. Creating it and its preview begin with the same draft."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import RowMapping, select

from actors.coordinator.context import CommandContext, controller_is_upgrading, dcmanager_operations
from actors.coordinator.errors import CommandRefusedError, Refusals, bad_request, conflict, unprocessable
from actors.coordinator.rollout import StepPlaces, counted_options, numbered_options, places_of_steps
from actors.coordinator.rollout_stages import NamedStages, empty_stages, named_stages
from actors.coordinator.worker_checks import idle_queues, require_playbooks, require_release
from db.inventory import candidates, find_group, find_subcloud, ids_of_subclouds, site_status
from db.schema import strategies, strategy_is_active
from messages.requests.base import truncate_for_error, unused_note
from messages.requests.strategy import StrategyCommand, StrategyRequest
from messages.schemas import Excluded
from statemachine.eligibility import CONTROLLER_UPGRADING, Ineligibility, check_release, check_status
from statemachine.selector import Targets
from statemachine.site_operations import SiteOperation, check_operation
from statemachine.states import ApplyType

_CANNOT: Final = "Unable to create strategy of type '{kind}': Bad strategy request: {reason}"
# Names, and reasons, that a refusal lists.
_NAMED: Final = 10
_LEAVE_OUT: Final = "Give skip-ineligible to leave such sites out."
# Characters of the hash in a digest.
_HASH_LENGTH: Final = 12


def cannot_create(request: StrategyRequest, reason: str) -> CommandRefusedError:
    """Return the refusal of a new strategy, in the words of the contract."""
    return unprocessable(cannot_text(request, reason))


def cannot_text(request: StrategyRequest, reason: str) -> str:
    """Return a reason against a new strategy in the words of the contract."""
    return _CANNOT.format(kind=request.type, reason=reason)


@dataclass(frozen=True, kw_only=True)
class RetriedSites:
    """The sites that a retry may have, as the earlier strategy had them."""

    # The strategy that is retried.
    strategy_id: int
    subcloud_ids: frozenset[int]
    # Name and reason of those whose subclouds were removed.
    gone: Sequence[Excluded]
    # Whether a phase is passed that an earlier run has proved.
    is_resumed: bool

    def among(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Yield those of the rows of subclouds that are retried."""
        return (row for row in rows if row["id"] in self.subcloud_ids)


@dataclass(frozen=True, kw_only=True)
class WantedStrategy:
    """A strategy that a request wants.

    Attributes:
        request: The request.

        group: The only group that it names; None: it names none.

        release: The release to stage (MM.mm).

        retried: The only sites that it may have; None: any.
    """

    request: StrategyRequest
    group: RowMapping | None
    release: str
    retried: RetriedSites | None = None


@dataclass(frozen=True, kw_only=True)
class ChosenSites:
    """Sites of a new strategy.

    Attributes:
        eligible: Rows of the subclouds that it has, in the order of groups and ids.

        excluded: `name` and `reason` of those that it means and leaves out.
    """

    eligible: list[Mapping[str, Any]] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)


def choose_sites(context: CommandContext, wanted: WantedStrategy, refusals: Refusals) -> ChosenSites:
    """Return the sites of a new strategy; `refusals` takes the reasons against it, in the order of the contract.

    Raises:
        CommandRefusedError: 422 or 503 with the first reason, where `refusals` keeps none.
    """
    request, retried = wanted.request, wanted.retried
    targets: Targets | None = None
    with refusals.noted():
        targets = _targets(context, wanted)
    with refusals.noted():
        if controller_is_upgrading(context):
            raise cannot_create(request, CONTROLLER_UPGRADING)
    operations: Mapping[str, SiteOperation] = {}
    with refusals.noted():
        operations = dcmanager_operations(context)
    if targets is None:
        return ChosenSites()
    chosen = ChosenSites(excluded=[] if retried is None else list(retried.gone))
    against: list[str] = []
    rows = candidates(
        context.connection,
        group_id=targets.group_id if targets.named is None else None,
        subcloud_id=next(iter(targets.named or ())) if request.cloud is not None else None,
    )
    meant = (row for row in rows if targets.include(row["id"], row["group_id"], row["labels"]))
    for row in meant if retried is None else retried.among(meant):
        ineligibility = targets.check(row["name"], row["group_id"], row["labels"]) or _ineligibility(
            wanted, row, operations
        )
        if ineligibility is None:
            chosen.eligible.append(row)
            continue
        chosen.excluded.append({"name": row["name"], "reason": ineligibility.text})
        against.append(ineligibility.text)
    is_named = targets.named is not None and not request.skip_ineligible
    with refusals.noted():
        if against and is_named:
            raise cannot_create(request, _ineligible_text(request, against))
        if not chosen.eligible:
            raise cannot_create(request, "Strategy has no steps to apply")
    return chosen


def _ineligibility(
    wanted: WantedStrategy, row: Mapping[str, Any], operations: Mapping[str, SiteOperation]
) -> Ineligibility | None:
    name, request = row["name"], wanted.request
    by_release = check_release(name, wanted.release, row["software_version"], for_sw_deploy=request.for_sw_deploy)
    if by_release is not None and request.cloud is not None:
        return by_release
    return check_status(site_status(row)) or check_operation(name, operations.get(name)) or by_release


def _ineligible_text(request: StrategyRequest, against: Sequence[str]) -> str:
    if request.cloud is not None:
        return against[0]
    return _leave_out_text(against)


def _leave_out_text(against: Sequence[str]) -> str:
    more = f" And {len(against) - _NAMED} more." if len(against) > _NAMED else ""
    return f"{' '.join(against[:_NAMED])}{more} {_LEAVE_OUT}"


def _targets(context: CommandContext, wanted: WantedStrategy) -> Targets:
    """Return the subclouds that a request means.

    Raises:
        CommandRefusedError: 422; it names some that there are not.
    """
    request, group = wanted.request, wanted.group
    if request.cloud is not None:
        single = find_subcloud(context.connection, request.cloud)
        if single is None:
            raise cannot_create(request, f"Subcloud {request.cloud} does not exist")
        return Targets(named=frozenset({single["id"]}))
    exclude = request.exclude
    excluded_refs = (exclude.clouds if exclude is not None else None) or ()
    ids = ids_of_subclouds(context.connection, {*(request.clouds or ()), *excluded_refs})
    unknown = [ref for ref in dict.fromkeys((*(request.clouds or ()), *excluded_refs)) if ref not in ids]
    if unknown:
        raise cannot_create(request, _unknown_text(unknown))
    return Targets(
        group_id=None if group is None else group["id"],
        named=None if request.clouds is None else frozenset(ids[ref] for ref in request.clouds),
        selector=request.selector,
        excluded=frozenset(ids[ref] for ref in excluded_refs),
        excluding=None if exclude is None else exclude.selector,
    )


def _unknown_text(unknown: Collection[str]) -> str:
    named = named_refs(unknown)
    return f"Subcloud {named} does not exist" if len(unknown) == 1 else f"Subclouds that do not exist: {named}"


def named_refs(refs: Collection[str]) -> str:
    """Return names and ids of a request as a refusal lists them: the first ten, and how many more there are."""
    named = ", ".join(map(truncate_for_error, list(refs)[:_NAMED]))
    return f"{named} and {len(refs) - _NAMED} more" if len(refs) > _NAMED else named


@dataclass(frozen=True, kw_only=True)
class StrategyDraft:
    """A strategy as a request would create it now.

    Attributes:
        wanted: What is wanted.

        options: Options of the rollout that count, by their names on the wire.

        sites: The subclouds that it has and those that it leaves out.

        places: Stages, and places of its steps.

        warnings: Sentences for the operator, none of which keeps it from being created.
    """

    wanted: WantedStrategy
    options: Mapping[str, Any]
    sites: ChosenSites
    places: StepPlaces
    warnings: Sequence[str]

    @property
    def apply_type(self) -> ApplyType | None:
        """The request's apply type, or that of the group that it names (contract 3.1)."""
        group = self.wanted.group
        found = self.wanted.request.apply_type or (None if group is None else group["update_apply_type"])
        return None if found is None else ApplyType(found)

    @property
    def width(self) -> int | None:
        """The request's width, or that of the group that it names (contract 3.1)."""
        group = self.wanted.group
        return self.wanted.request.max_parallel or (None if group is None else group["max_parallel_subclouds"])

    @property
    def digest(self) -> str:
        """Number of sites, number of stages, and a hash of all that decides what will run, joined by dashes."""
        content = {
            "release": self.wanted.release,
            "for_sw_deploy": self.wanted.request.for_sw_deploy,
            "force": self.wanted.request.force,
            "apply_type": self.apply_type,
            "width": self.width,
            "options": self.options,
            "widths": [[stage, width] for stage, width in sorted(self.places.widths.items())],
            "steps": [[subcloud_id, stage] for subcloud_id, stage, _ in self.places.steps],
        }
        text = sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_HASH_LENGTH]
        return f"{len(self.places.steps)}-{len(self.places.widths)}-{text}"


def draft_strategy(
    context: CommandContext, wanted: WantedStrategy, data: Mapping[str, Any], refusals: Refusals
) -> StrategyDraft:
    """Return the strategy as it would be created now; nothing is written.

    Args:
        context: The transaction.

        wanted: What is wanted.

        data: The request as the caller wrote it.

        refusals: Takes the reasons against it, in the order of the contract (3.3.2).

    Raises:
        CommandRefusedError: 400, 409, 422 or 503 with the first reason, where `refusals` keeps none.
    """
    request = wanted.request
    note = playbooks = None
    with refusals.noted():
        note = require_release(context, wanted.release, for_sw_deploy=request.for_sw_deploy)
    with refusals.noted():
        _refuse_second_strategy(context, request)
    sites = choose_sites(context, wanted, refusals)
    with refusals.noted():
        playbooks = require_playbooks(context, cannot_text(request, ""))
    options, excluding = counted_options(request, wanted.group, context.rules.rollout)
    with refusals.noted():
        if excluding is not None:
            raise cannot_create(request, excluding)
    stages = named_stages(context, options, sites.eligible, sites.excluded)
    if stages is not None:
        _refuse_named(request, stages, refusals)
    rules = None if stages is None else stages.rules
    places = places_of_steps(context.connection, options, request, sites.eligible, rules)
    empty = empty_stages(options, places)
    warnings = (note, playbooks, empty, *idle_queues(context), unused_note(StrategyCommand, data))
    draft = StrategyDraft(
        wanted=wanted,
        options=numbered_options(options, places),
        sites=sites,
        places=places,
        warnings=[one for one in warnings if one is not None],
    )
    with refusals.noted():
        _refuse_change(draft)
    return draft


def _refuse_named(request: StrategyRequest, stages: NamedStages, refusals: Refusals) -> None:
    """Refuse names in stages of subclouds that there are not, or that the strategy cannot have."""
    with refusals.noted():
        if stages.unknown:
            raise cannot_create(request, _unknown_text(stages.unknown))
    with refusals.noted():
        if stages.against and not request.skip_ineligible:
            raise cannot_create(request, _leave_out_text(stages.against))


def find_named_group(context: CommandContext, request: StrategyRequest) -> RowMapping | None:
    """Return the only group that a request names; None: it names none.

    Raises:
        CommandRefusedError: 400; there is no such group.
    """
    if request.group is None:
        return None
    group = find_group(context.connection, request.group)
    if group is None:
        raise bad_request("Invalid group_id")
    return group


def _refuse_second_strategy(context: CommandContext, request: StrategyRequest) -> None:
    existing = context.connection.execute(select(strategies.c.type).where(strategy_is_active)).scalar()
    if existing is not None:
        raise cannot_create(request, f"Strategy of type: '{existing}' already exists")


def _refuse_change(draft: StrategyDraft) -> None:
    """Refuse a strategy that is another one than its preview."""
    expected, found = draft.wanted.request.plan_digest, draft.digest
    if expected is None or expected == found:
        return
    had, has = (digest.split("-") for digest in (expected, found))
    what = "" if had[:2] != has[:2] else ", but other sites, stages or options"
    raise conflict(
        f"The plan changed since the preview: it had {had[0]} sites in {had[1]} stages, now {has[0]} in {has[1]}{what}"
    )
