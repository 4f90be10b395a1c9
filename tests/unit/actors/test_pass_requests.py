"""Calls of the coordinator that share a pass: every interleaving of callers."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from actors.coordinator.pass_requests import PassRequests

CALLERS = 3
# Steps of a caller that makes a pass, as `SharedCoordinator.caller` has them.
STEPS = 4


class SharedCoordinator:
    """Callers that each commit a fact and call the coordinator; a pass finds the facts that it reads."""

    def __init__(self) -> None:
        self.committed: set[int] = set()
        self.found: set[int] = set()
        self.pass_count = 0
        self.has_lock = False
        self._pass_requests = PassRequests()

    def caller(self, fact: int) -> Generator[None]:
        """Commit a fact and call the coordinator, as its `coordinate` does; others go on at each `yield`."""
        self.committed.add(fact)
        yield
        ticket = self._pass_requests.enter()
        if ticket is None:
            return
        yield
        while self.has_lock:
            yield
        self.has_lock = True
        self._pass_requests.begin(ticket)
        self.pass_count += 1
        read = {*self.committed}
        yield
        self.found |= read
        self.has_lock = False


def orders(left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Give every order of the callers' steps, of which `left` are left to each."""
    if not any(left):
        yield ()
    for caller, steps in enumerate(left):
        if steps:
            rest = (*left[:caller], steps - 1, *left[caller + 1 :])
            for order in orders(rest):
                yield (caller, *order)


def run(order: tuple[int, ...]) -> SharedCoordinator:
    """Let callers go on in an order, then all to their end."""
    coordinator = SharedCoordinator()
    callers = {fact: coordinator.caller(fact) for fact in range(CALLERS)}
    for caller in order:
        go_on(callers, caller)
    while callers:
        for caller in [*callers]:
            go_on(callers, caller)
    return coordinator


def go_on(callers: dict[int, Generator[None]], caller: int) -> None:
    """Take one step of a caller."""
    if caller in callers:
        try:
            next(callers[caller])
        except StopIteration:
            del callers[caller]


def test_no_interleaving_loses_a_call() -> None:
    """Whatever the order of commits, calls and passes, each committed fact is found by a pass that began afterwards."""
    pass_counts = set()
    for order in orders((STEPS,) * CALLERS):
        coordinator = run(order)
        assert coordinator.committed == coordinator.found, order
        pass_counts.add(coordinator.pass_count)

    assert {1, 2, 3} == pass_counts


def test_a_pass_that_has_begun_serves_no_later_call() -> None:
    """Callers share a pass until it begins; the next one after that makes its own."""
    requests = PassRequests()
    first = requests.enter()
    shared = requests.enter()
    requests.begin(first)
    second = requests.enter()

    assert first is not None
    assert shared is None
    assert second is not None


def test_an_ended_pass_does_not_begin_another() -> None:
    """A pass that is given up after another is awaited leaves that one alone."""
    requests = PassRequests()
    first = requests.enter()
    requests.begin(first)
    requests.enter()

    requests.begin(first)

    assert requests.enter() is None
