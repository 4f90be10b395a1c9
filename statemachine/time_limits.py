"""Time limits of a rollout: of the phases, of a site and of the strategy (`rollout.timeouts`).

Limits of runs are kept by workers with their own clock. That of the strategy is kept by the plan, with the database's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from statemachine.snapshot import StrategyView
from statemachine.states import PHASES

# Options with the longest time of all runs at a site, and of the whole strategy, in seconds.
SITE_LIMIT: Final = "site-s"
STRATEGY_LIMIT: Final = "strategy-s"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLimit:
    """The longest time of a run.

    Attributes:
        seconds: Time that the run gets, 0 or more.

        option: Option that it comes from; None: the setting of the phase.

        configured_s: Value of that option, or `seconds` where there is none.
    """

    seconds: float
    option: str | None
    configured_s: float

    def reached(self, phase: str) -> str:
        """Return the sentence about a run of `phase` that was stopped at this limit."""
        limit = f"{self.configured_s:.10g} s"
        if self.option is None:
            return f"It did not finish within {limit}."
        whose = "site's limit" if self.option == SITE_LIMIT else "limit"
        return f"The {whose} of {limit} ({self.option}) was reached in {phase}."


def run_limit(phase: str, timeouts: Mapping[str, float], *, worked_s: float, default_s: float) -> RunLimit:
    """Return the limit of the next run of a phase.

    The limit of its phase replaces the default; of it and what is left of the site's the shorter one counts. Work on
    the controller that sites share is not the site's.

    Args:
        phase: State of a step in the phase.

        timeouts: Options of the strategy, by their names on the wire.

        worked_s: Seconds of the site's ended runs in the strategy, from claim to end.

        default_s: Limit by the settings and the amount of content, in seconds.

    Raises:
        KeyError: There is no such phase.
    """
    row = PHASES[phase]
    own_s = timeouts.get(row.limit_option) if row.limit_option else None
    limit = RunLimit(seconds=default_s, option=None, configured_s=default_s)
    if own_s is not None:
        limit = RunLimit(seconds=own_s, option=row.limit_option, configured_s=own_s)
    site_s = timeouts.get(SITE_LIMIT)
    if site_s is None or row.once_per_strategy or site_s - worked_s >= limit.seconds:
        return limit
    return RunLimit(seconds=max(0.0, site_s - worked_s), option=SITE_LIMIT, configured_s=site_s)


def fixed_limit(phase: str, timeouts: Mapping[str, float], worked_s: float) -> RunLimit | None:
    """Return the limit of the next run of a phase that no setting or amount of content moves; None: there is none.

    Raises:
        KeyError: There is no such phase.
    """
    limit = run_limit(phase, timeouts, worked_s=worked_s, default_s=inf)
    return None if limit.option is None else limit


def replaces_setting(phase: str, timeouts: Mapping[str, float]) -> bool:
    """Return whether a limit of the phase takes the place of its setting."""
    return timeouts.get(PHASES[phase].limit_option) is not None


def held_time(holds: Iterable[tuple[float, float | None]]) -> tuple[float, float | None]:
    """Return the seconds under ended holds, and since when others have held without a gap; None: none is open.

    Args:
        holds: Begin and end of each hold that covers everything, by one clock; None as end: it is open. Time under
            several of them counts once.
    """
    held_s = 0.0
    since: float | None = None
    until: float | None = None
    for begin, end in sorted(holds, key=lambda hold: hold[0]):
        if since is not None and until is not None and begin > until:
            held_s += until - since
            since = None
        if since is None:
            since, until = begin, end
        elif until is not None:
            until = None if end is None else max(until, end)
    if since is not None and until is not None:
        return held_s + until - since, None
    return held_s, since


def is_time_over(strategy: StrategyView, now: float) -> bool:
    """Return whether the strategy has reached its time limit at `now`, in seconds since the epoch."""
    if strategy.time_limit_s is None or strategy.applied_at_epoch is None:
        return False
    return time_used(strategy, now) >= strategy.time_limit_s


def time_used(strategy: StrategyView, now: float) -> float:
    """Return the seconds of an applied strategy that count against its limit: not those under a hold of everything."""
    if strategy.applied_at_epoch is None:
        return 0.0
    held_now_s = 0.0 if strategy.held_since_epoch is None else now - strategy.held_since_epoch
    return now - strategy.applied_at_epoch - strategy.held_s - held_now_s


def strategy_limit_reached(seconds: float) -> str:
    """Return the sentence about a strategy that has reached its limit of `seconds`."""
    return f"The strategy's limit of {seconds:.10g} s ({STRATEGY_LIMIT}) was reached."


def limit_as_caller(seconds: float) -> str:
    """Return the words for a strategy's limit of `seconds` in the place of a caller who cancels its steps."""
    return f"the strategy's limit of {seconds:.10g} s ({STRATEGY_LIMIT})"
