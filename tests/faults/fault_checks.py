"""What must hold when everything is over: the database and the journals of the sites tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import select

from db.schema import commands, outbox, preparations, runs, steps, strategies, subcloud_groups
from tests.faults.fault_caller import Caller
from tests.faults.fault_installation import FaultInstallation
from tests.support.installation_processes import START_S
from tests.support.waiting import wait_for


def violations(installation: FaultInstallation, caller: Caller | None = None) -> list[str]:
    """Return every invariant that a strategy which has ended does not keep; the outbox gets a little time."""
    wait_for(lambda: not installation.rows(select(outbox.c.id)), START_S, installation.story)
    found = [*_lost_steps(installation), *_doubled(installation)]
    return [*found, *(_lost_commands(installation, caller) if caller else ())]


def _lost_steps(installation: FaultInstallation) -> Iterator[str]:
    for row in installation.rows(select(steps).where(steps.c.finished_at.is_(None))):
        yield f"step of {row.subcloud_name} has not ended: {row.state}"
    for row in installation.rows(select(runs).where(~runs.c.consumed)):
        yield f"run {row.id} is left {row.state}"
    for row in installation.rows(select(preparations).where(preparations.c.finished_at.is_(None))):
        yield f"preparation {row.id} is left {row.state}"
    for row in installation.rows(select(strategies).where(strategies.c.finished_at.is_(None))):
        yield f"strategy {row.id} is left {row.state}"


def _doubled(installation: FaultInstallation) -> Iterator[str]:
    for leaf in sorted(installation.journal.glob("*.journal")):
        lines = leaf.read_text().splitlines()
        yield from (f"{leaf.stem}: {line}" for line in lines if line.startswith("overlap"))
        opened = ""
        for line in lines:
            verb, _, run = line.partition(" ")
            if verb == "begin":
                opened = run
            elif verb == "end" and run != opened:
                yield f"{leaf.stem}: '{line}' ends what was not begun last"
    for row in installation.rows(select(steps.c.id, steps.c.subcloud_name, steps.c.state)):
        won = installation.rows(
            select(runs.c.phase).where(runs.c.step_id == row.id, runs.c.outcome == "succeeded").order_by(runs.c.id)
        )
        for phase, count in Counter(run.phase for run in won).items():
            if count > 1:
                yield f"{row.subcloud_name}: {phase} succeeded {count} times"


def _lost_commands(installation: FaultInstallation, caller: Caller) -> Iterator[str]:
    yield from (f"strange answer: {text}" for text in caller.strange)
    stored = {row.id.rpartition("/")[2]: row.status for row in installation.rows(select(commands))}
    made = {row.name for row in installation.rows(select(subcloud_groups.c.name))}
    for outcome in caller.outcomes:
        if outcome.status != 200:
            yield f"command {outcome.name} was answered {outcome.status}"
        if stored.get(outcome.name) != outcome.status:
            yield f"command {outcome.name} was answered {outcome.status} and stored as {stored.get(outcome.name)}"
        if outcome.name not in made:
            yield f"command {outcome.name} has an outcome and no effect"


def restarts(installation: FaultInstallation) -> list[str]:
    """Return what did not go straight: a playbook that began more than once, a run that did not succeed at once."""
    begun = Counter(
        (leaf.stem, line.split()[1])
        for leaf in installation.journal.glob("*.journal")
        for line in leaf.read_text().splitlines()
        if line.startswith("begin")
    )
    again = [f"{phase} began {count} times on {site}" for (site, phase), count in begun.items() if count > 1]
    newest = select(strategies.c.id).order_by(strategies.c.id.desc()).limit(1).scalar_subquery()
    of_playbooks = (
        select(runs)
        .join(steps, steps.c.id == runs.c.step_id)
        .where(steps.c.strategy_id == newest, runs.c.phase != "prestage-precheck")
    )
    rows = installation.rows(of_playbooks)
    return [*again, *(f"run {row.id} of {row.phase} was {row.outcome}" for row in rows if row.outcome != "succeeded")]
