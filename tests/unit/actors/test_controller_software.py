"""The controller's list of software is asked for once in each strategy."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from actors.worker.dependencies import ControllerSoftware
from sites.errors import InspectionError
from sites.sysinv.interpretation import ListedSoftware

SOFTWARE = (
    ListedSoftware(release_id="s-24.09.0", sw_version="24.09.0", state="deployed", reboot_required="True"),
    ListedSoftware(release_id="s-25.09.0", sw_version="25.09.0", state="deployed", reboot_required="True"),
)


class Lister:
    """A controller that is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fault: str | None = None

    def software(self) -> tuple[ListedSoftware, ...] | None:
        self.asked += 1
        if self.fault is not None:
            raise InspectionError(self.fault)
        return SOFTWARE


def run(strategy: int | None = 1, *, step: int = 1, release: str = "24.09") -> Any:
    """Return a run of a strategy."""
    return Mock(strategy_id=strategy, for_step_id=step, release=release)


def test_once_for_a_strategy() -> None:
    """All runs of a strategy get what the controller listed at the first; the next strategy asks anew."""
    lister = Lister()
    software = ControllerSoftware(lister, "25.09")

    found = [software.lines(run(step=step)) for step in range(3)]
    software.lines(run(2))

    assert [["|s-24.09.0|True|deployed|"]] * 3 == found
    assert 2 == lister.asked


def test_without_a_strategy() -> None:
    """A prestage of one site asks for itself."""
    lister = Lister()
    software = ControllerSoftware(lister, "25.09")
    for step in (1, 1, 2):
        software.lines(run(None, step=step))

    assert 2 == lister.asked


def test_a_controller_that_does_not_answer() -> None:
    """Playbooks that are given no list ask for themselves; the controller is asked again a minute later."""
    lister, now = Lister(), [0.0]
    software = ControllerSoftware(lister, "25.09", clock=lambda: now[0])
    lister.fault = "away"
    found = [software.lines(run()), software.lines(run())]
    asked = lister.asked
    lister.fault, now[0] = None, 60.0

    assert ([[], []], 1) == (found, asked)
    assert ["|s-24.09.0|True|deployed|"] == software.lines(run())


def test_a_controller_that_is_not_asked() -> None:
    """Where the controller is not asked nothing is listed."""
    assert () == ControllerSoftware(None, None).lines(run())
