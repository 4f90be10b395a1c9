"""The time limit of a precheck (`rollout.timeouts`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from actors.worker.precheck import Precheck
from db.runs import RunAssignment
from statemachine.eligibility import EligibilityRules
from statemachine.states import RunOutcome, StepState


class SilentInspector:
    """Asks a site that never answers."""

    async def read(self, subcloud: Mapping[str, Any], *, for_install: bool) -> None:
        """Wait for ever."""
        del subcloud, for_install
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("timeouts", "worked_s", "sentence"),
    [
        ({"precheck-s": 0.05}, 0.0, "The limit of 0.05 s (precheck-s) was reached in prestage-precheck."),
        ({"site-s": 100}, 99.95, "The site's limit of 100 s (site-s) was reached in prestage-precheck."),
        ({"site-s": 100}, 100.0, "The site's limit of 100 s (site-s) was reached in prestage-precheck."),
    ],
)
async def test_a_precheck_ends_at_its_limit(timeouts: dict[str, float], worked_s: float, sentence: str) -> None:
    """A precheck that passes its limit, or what is left of its site's, fails and says which limit it was."""
    precheck = Precheck(SilentInspector(), EligibilityRules(), Mock(), playbooks_dir=Path())  # type: ignore[arg-type]
    assignment = RunAssignment(
        run_id=1,
        phase=StepState.PRECHECK,
        step_id=1,
        release="23.09",
        force=False,
        for_sw_deploy=False,
        from_version="22.12",
        oam_address=None,
        subcloud={"name": "a"},
        busy_with=None,
        sealed=None,
        bound_to="",
        timeouts=timeouts,
        worked_s=worked_s,
    )
    async with asyncio.timeout(20):
        result = await precheck.ask(assignment)

    assert (RunOutcome.FAILED, sentence) == (result.outcome, result.details)
