"""A worker that stands still for longer than its leases, and comes back."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from db.schema import runs
from tests.faults.fault_checks import violations
from tests.faults.fault_installation import LONG, FaultInstallation, NewInstallation
from tests.support.installation_processes import START_S, PartProcess
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

SITES = 3
# Lease, the coordinator's patience with it, and a busy machine, in seconds.
TAKEN_AWAY_S = 90.0


@pytest.mark.skipif(not LONG, reason="lasts longer than a lease: make faults")
@pytest.mark.timeout(600)
def test_a_frozen_worker_is_fenced(new_installation: NewInstallation) -> None:
    """The runs of a frozen worker go to another one; when it comes back its results change nothing.

    Its playbooks have stopped by themselves before, so no site has two.
    """
    installation = new_installation(seconds=None, SLOTS=SITES, workers=("a", "b"))
    installation.launch()
    installation.add_sites(SITES)
    installation.apply_strategy(SITES)
    wait_for(lambda: installation.begun() == SITES, START_S, installation.story)
    before = [row.id for row in installation.rows(select(runs.c.id).where(runs.c.state == "running"))]
    outlast_a_lease(installation, *sorted(installation.workers, key=lambda part: len(part.playbook_processes())))
    installation.release()

    assert "complete" == installation.wait_for_end()
    assert "lost" in {row.outcome for row in installation.rows(select(runs.c.outcome).where(runs.c.id.in_(before)))}
    assert [] == violations(installation)


def outlast_a_lease(installation: FaultInstallation, other: PartProcess, busiest: PartProcess) -> None:
    """Freeze the busiest worker until the other one has its work, and let it go on and find out."""
    busiest.freeze()
    try:
        wait_for(lambda: not busiest.works(), TAKEN_AWAY_S, installation.story)
        wait_for(lambda: installation.begun() > SITES, TAKEN_AWAY_S, installation.story)
        assert other.works()
    finally:
        busiest.thaw()
    wait_for(lambda: busiest.said("run.fenced") + busiest.said("run.stopped"), START_S, installation.story)
