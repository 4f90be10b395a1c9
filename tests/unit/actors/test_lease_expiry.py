from __future__ import annotations

from actors.coordinator.coordinator import LeaseExpiry
from statemachine.actions import AbortWaiting, Action, ExpireRun, StepChange
from statemachine.states import StepState

EXPIRE = ExpireRun(run_id=1, lease_until=100.0)
ABORT = StepChange(from_state=StepState.INITIAL, to_state=StepState.ABORTED)
OTHER = AbortWaiting(strategy_id=2, change=ABORT)


class Clock:
    """Seconds that go on when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _leases() -> tuple[LeaseExpiry, Clock]:
    clock = Clock()
    return LeaseExpiry(clock, patience_s=10.0), clock


def _at(leases: LeaseExpiry, clock: Clock, now: float, *actions: Action) -> list[Action]:
    clock.now = now
    return leases.confirmed(actions)


def test_first_sight_is_not_enough() -> None:
    """A lease that is seen passed for the first time keeps its run."""
    assert _at(*_leases(), 0.0, EXPIRE) == []


def test_everything_else_goes_on() -> None:
    """Other actions are kept, in their order, whatever becomes of the leases between them."""
    leases, clock = _leases()

    assert [OTHER, OTHER] == _at(leases, clock, 0.0, OTHER, EXPIRE, OTHER)
    assert [OTHER, EXPIRE, OTHER] == _at(leases, clock, 10.0, OTHER, EXPIRE, OTHER)


def test_standing_lease_is_taken() -> None:
    """A passed lease that stood unchanged for as long as the patience takes its run away, not a moment earlier."""
    leases, clock = _leases()

    assert _at(leases, clock, 0.0, EXPIRE) == []
    assert _at(leases, clock, 9.9, EXPIRE) == []
    assert [EXPIRE] == _at(leases, clock, 10.0, EXPIRE)


def test_looking_often_is_not_waiting() -> None:
    """Many looks within the patience are as good as one."""
    leases, clock = _leases()

    assert [[]] * 50 == [_at(leases, clock, look / 10, EXPIRE) for look in range(50)]


def test_renewed_lease_starts_anew() -> None:
    """A lease that was renewed and passed again is another one: a jump of the clock takes nothing from the living."""
    leases, clock = _leases()
    renewed = ExpireRun(run_id=1, lease_until=110.0)

    assert _at(leases, clock, 0.0, EXPIRE) == []
    assert _at(leases, clock, 10.0, renewed) == []
    assert [renewed] == _at(leases, clock, 20.0, renewed)


def test_runs_are_told_apart() -> None:
    """Each run has its own wait."""
    leases, clock = _leases()
    late = ExpireRun(run_id=2, lease_until=100.0)

    assert _at(leases, clock, 0.0, EXPIRE) == []
    assert [EXPIRE] == _at(leases, clock, 10.0, EXPIRE, late)
    assert [late] == _at(leases, clock, 20.0, late)


def test_taken_lease_is_forgotten() -> None:
    """A confirmed lease whose transaction was rolled back has to stand again."""
    leases, clock = _leases()
    _at(leases, clock, 0.0, EXPIRE)
    _at(leases, clock, 10.0, EXPIRE)

    assert _at(leases, clock, 10.0, EXPIRE) == []
    assert [EXPIRE] == _at(leases, clock, 20.0, EXPIRE)


def test_memory_does_not_grow() -> None:
    """Leases that were renewed are forgotten after a while."""
    leases, clock = _leases()
    for run_id in range(1000):
        _at(leases, clock, float(run_id), ExpireRun(run_id=run_id, lease_until=1.0))

    assert len(leases._first_seen) <= 101


def test_usual_patience_is_longer_than_a_renewal() -> None:
    """By default a living worker has renewed before its lease is taken."""
    leases = LeaseExpiry(clock := Clock())

    assert _at(leases, clock, 0.0, EXPIRE) == []
    assert _at(leases, clock, 10.0, EXPIRE) == []
    assert [EXPIRE] == _at(leases, clock, 12.0, EXPIRE)
