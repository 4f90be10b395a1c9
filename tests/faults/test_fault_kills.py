"""Kill -9 of any part at any moment."""

from __future__ import annotations

import random
import sys
from threading import Event, Thread

import pytest

from tests.faults.fault_caller import calling
from tests.faults.fault_checks import violations
from tests.faults.fault_installation import ORPHAN_S, FaultInstallation, NewInstallation, scaled, seeded
from tests.support.installation_processes import START_S, orphans
from tests.support.rabbitmq_server import StrictRabbitmq
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

SITES = scaled(3, 6)
KILLS = scaled(6, 40)


class KillingRound:
    """Kills a part at random every 0.5 to 2 s and starts it again, as a service manager does."""

    def __init__(self, installation: FaultInstallation, rabbitmq: StrictRabbitmq, moments: random.Random) -> None:
        self._installation = installation
        self._rabbitmq = rabbitmq
        self._moments = moments
        # The broker takes seconds to start; others are killed meanwhile.
        self._reviving: Thread | None = None
        self.victims: list[str] = []

    def kill(self, count: int) -> None:
        """Kill `count` times; every part has its turn before one has its second."""
        while len(self.victims) < count:
            names = [*self._installation.parts, "broker"]
            self._moments.shuffle(names)
            for name in names[: count - len(self.victims)]:
                Event().wait(self._moments.uniform(0.5, 2.0))
                self._kill(name)
                self.victims.append(name)
        self.end()

    def _kill(self, name: str) -> None:
        if name != "broker":
            part = self._installation.parts[name]
            assert part.is_alive(), f"{name} ended by itself:\n{part.tail()}"
            part.kill()
            if part.kind == "worker" and self._moments.random() < scaled(1.0, 0.5):
                wait_for(orphans([part]), ORPHAN_S, self._installation.story)
            part.launch()
            return
        self.end()
        self._rabbitmq.kill()
        self._reviving = Thread(target=self._rabbitmq.start)
        self._reviving.start()

    def end(self) -> None:
        """Wait until the broker is back."""
        if self._reviving is not None:
            self._reviving.join(START_S)
            self._reviving = None


@pytest.mark.timeout(900)
def test_killed_anywhere_at_any_time_nothing_is_lost(
    new_installation: NewInstallation, rabbitmq: StrictRabbitmq
) -> None:
    """Api, coordinator, worker and broker are killed again and again while commands and a strategy go on.

    Every command has one outcome in the end, every step ends well, no site ever has two playbooks, and of a killed
    worker no process is left after 5 s.
    """
    installation = new_installation(SLOTS=SITES)
    installation.launch()
    installation.add_sites(SITES)
    rabbitmq.settle()
    round_ = KillingRound(installation, rabbitmq, seeded())
    with calling(installation) as caller:
        installation.apply_strategy(SITES)
        round_.kill(KILLS)

        assert "complete" == installation.wait_for_end()
    sys.stdout.write(f"killed {' '.join(round_.victims)}; {len(caller.outcomes)} commands\n")

    assert [] == violations(installation, caller)
