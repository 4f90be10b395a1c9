"""Deadline of a run by the bytes that it brings to a site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# A task's result announces with this key how many bytes the run will bring to the site.
ANNOUNCED: Final = "prestage_transfer_bytes"
# Floor of the rate of links to sites, in Mbit/s.
DEFAULT_FLOOR_RATE_MBIT_S: Final = 2.0
# What a run may take beside the transfer, in seconds.
_BESIDE_S: Final = 600.0
# No announcement gives a run more, in seconds: some come from the site.
LONGEST_S: Final = 7 * 86400.0
_BITS: Final = 8
_MEGA: Final = 1_000_000


def deadline_for(setting_s: float, transfer_bytes: int, floor_rate_mbit_s: float) -> float:
    """Return the longest time of a run in seconds: its setting, or more for many bytes over a slow link."""
    needed_s = _BESIDE_S + transfer_bytes * _BITS / (floor_rate_mbit_s * _MEGA) if transfer_bytes else 0.0
    return max(setting_s, min(needed_s, LONGEST_S))


class AnnouncedBytes:
    """Adds up what the results of a run's tasks announce; 0 before the first."""

    def __init__(self) -> None:
        self.total = 0

    def take(self, event: Mapping[str, Any]) -> bool:
        """Take one of ansible-runner's events in; tell whether it announced more."""
        if event.get("event") != "runner_on_ok":
            return False
        result = (event.get("event_data") or {}).get("res")
        size = result.get(ANNOUNCED) if isinstance(result, Mapping) else None
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            return False
        self.total += size
        return True
