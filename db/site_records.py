"""Records of sites: runs that changed or read the content there, and doubts about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import BigInteger, Connection, func, select, update

from db.json_table import given_rows
from db.schema import database_now, runs, steps, subclouds
from statemachine.proofs import CONTENT_PHASES, LONGEST_PROOF_S, SiteRecord, SiteRun
from statemachine.states import PRECHECK, UNSTAGING

# The fact of a run that is the digest of the content which it brought to a site, or found on the controller.
CONTENT_DIGEST: Final = "content_digest"
# The fact of a run that is the version of the site which it brought the content for.
_SITE_VERSION: Final = "site_version"
# Phases whose runs say something of a site's content: those that change it, and the one that reads its version.
_TELLING: Final = (PRECHECK.state, *CONTENT_PHASES, UNSTAGING.state)

_AGE_S: Final = database_now() - runs.c.dispatched_at
_WANTED: Final = given_rows("wanted", subcloud_id=BigInteger)
_RUNS: Final = (
    select(
        steps.c.subcloud_id,
        runs.c.id,
        runs.c.phase,
        runs.c.outcome,
        steps.c.release,
        # That of the step is what its newest precheck found, also after a retry.
        func.coalesce(runs.c.facts[_SITE_VERSION].as_string(), steps.c.from_version).label("from_version"),
        steps.c.for_sw_deploy,
        runs.c.facts[CONTENT_DIGEST].as_string().label("content"),
        runs.c.failure_class,
        _AGE_S.label("age_s"),
    )
    .select_from(
        _WANTED.join(steps, steps.c.subcloud_id == _WANTED.c.subcloud_id).join(runs, runs.c.step_id == steps.c.id)
    )
    # Older ones prove nothing, and what came before a proof says nothing.
    .where(runs.c.phase.in_(_TELLING), runs.c.started_at.is_not(None), _AGE_S <= LONGEST_PROOF_S)
    .order_by(runs.c.id)
)
_DOUBTS: Final = select(subclouds.c.id, subclouds.c.doubted_to).select_from(
    _WANTED.join(subclouds, subclouds.c.id == _WANTED.c.subcloud_id)
)


def site_records(connection: Connection, reason_of: Mapping[int, bool]) -> dict[int, SiteRecord]:
    """Return the records of sites by the ids of their subclouds.

    Args:
        connection: The connection.

        reason_of: Whether each subcloud, by id, is to be staged for a software deploy.
    """
    wanted = {"wanted": [{"subcloud_id": subcloud_id} for subcloud_id in reason_of]}
    found: dict[int, list[SiteRun]] = defaultdict(list)
    for row in connection.execute(_RUNS, wanted):
        found[row.subcloud_id].append(
            SiteRun(
                id=row.id,
                phase=row.phase,
                outcome=row.outcome,
                release=row.release,
                from_version=row.from_version,
                for_sw_deploy=bool(row.for_sw_deploy),
                content=row.content,
                failure_class=row.failure_class,
                age_s=row.age_s,
            )
        )
    return {
        row.id: SiteRecord(runs=tuple(found[row.id]), doubted_to=row.doubted_to, for_sw_deploy=reason_of[row.id])
        for row in connection.execute(_DOUBTS, wanted)
    }


def doubt(connection: Connection, subcloud_ids: Collection[int]) -> None:
    """Rely no more on the content that earlier runs have brought to some sites. A repeat changes nothing."""
    newest_run = select(func.coalesce(func.max(runs.c.id), 0)).scalar_subquery()
    connection.execute(update(subclouds).where(subclouds.c.id.in_(subcloud_ids)).values(doubted_to=newest_run))
