"""
The record of a site's lock: its holder, and whether a caller may go on. Values in, a decision out.

Called by lock.py under the file lock; never reads a clock or a file.
"""

import json
from typing import Any, Dict, NamedTuple, Optional

from .documents import utc

# A record that reserves the site for longer is damaged, or somebody wants to lock everybody out, in seconds.
LONGEST_HOLD_S = 30 * 24 * 3600.0
LARGEST_TOKEN = 2**63


class Caller(NamedTuple):
    """One module call of a run."""

    # The controller that started the run; empty for a run by hand.
    origin: str
    # Grows with every run that this controller starts for this site; 0 by hand.
    token: int
    # Name of the run, drawn by its first call; empty in that call.
    run: str


class Holder(NamedTuple):
    """The run that has the site between its module calls."""

    origin: str
    token: int
    run: str
    # Seconds since 1970, on the site's clock; afterwards anybody may take the site.
    until: float


class LockRecord:
    """The content of the lock file."""

    def __init__(self, holder: Optional[Holder], newest: Dict[str, int]) -> None:
        """
        Hold the two parts of the record.

        Args:
            holder: The run that has the site, if any.

            newest: The highest token seen from each controller; kept after its run has ended.
        """
        self.holder = holder
        self.newest = newest

    @classmethod
    def empty(cls) -> "LockRecord":
        """Return the record of a site that nobody used yet."""
        return cls(None, {})

    @classmethod
    def parse(cls, text: str) -> "LockRecord":
        """Read a record; what cannot be read counts as empty, for it must not lock the site for ever."""
        try:
            content = json.loads(text)
            newest = {str(origin): _token(token) for origin, token in content["newest"].items()}
            held = content["holder"]
            holder = (
                Holder(str(held["origin"]), _token(held["token"]), str(held["run"]), float(held["until"]))
                if held
                else None
            )
            # A time that cannot be written cannot be waited for either: it may be NaN, or beyond every calendar.
            if holder:
                utc(holder.until)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, OSError, RecursionError):
            return cls.empty()
        return cls(holder, newest)

    def as_dict(self) -> Dict[str, Any]:
        """Return what `parse` reads, with a second spelling of the time for people."""
        if self.holder is None:
            return {"holder": None, "newest": self.newest}
        holder = dict(self.holder._asdict(), until_utc=utc(self.holder.until))
        return {"holder": holder, "newest": self.newest}

    def held_by(self, caller: Caller, until: float) -> "LockRecord":
        """Return the record after `caller` took or renewed the site."""
        newest = dict(self.newest)
        if caller.token > 0:
            newest[caller.origin] = caller.token
        return LockRecord(Holder(caller.origin, caller.token, caller.run, until), newest)

    def freed(self) -> "LockRecord":
        """Return the record after the run ended."""
        return LockRecord(None, self.newest)


def _token(value: Any) -> int:
    token = int(value)
    if not 0 <= token <= LARGEST_TOKEN:
        raise ValueError(token)
    return token


def refusal(record: LockRecord, caller: Caller, now: float) -> Optional[str]:
    """Return why `caller` may not write on the site at `now`; None when it may."""
    newest = record.newest.get(caller.origin, 0)
    if caller.token < newest:
        return (
            f"Superseded by a newer run: this run has token {caller.token}, but {holder_label(caller.origin)} has "
            f"already started the run with token {newest} on this site. Nothing was changed by this run. "
            "If the controller's database was restored from a backup, stop its service and run: prestager db restored"
        )
    if caller.run:
        return _refuse_next_call(record, caller)
    return _refuse_first_call(record, caller, now)


def _refuse_next_call(record: LockRecord, caller: Caller) -> Optional[str]:
    if record.holder is not None and record.holder.run == caller.run:
        return None
    taker = "is free" if record.holder is None else f"belongs to {holder_label(record.holder.origin)}"
    return f"This run lost the lock of the site, which now {taker}, because it was silent too long. Prestage again."


def _refuse_first_call(record: LockRecord, caller: Caller, now: float) -> Optional[str]:
    holder = record.holder
    if holder is None or holder.until <= now or holder.until > now + LONGEST_HOLD_S:
        return None
    if caller.origin == holder.origin and caller.token > holder.token:
        return None
    return (
        f"This site is locked by another prestage run of {holder_label(holder.origin)} until {utc(holder.until)}. "
        "Wait for it to end, then prestage again."
    )


def holder_label(origin: str) -> str:
    """Name a controller for people."""
    return origin or "an operator who started it by hand"
