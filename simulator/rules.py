"""Rules that give faults to the sites of a simulated fleet, drawn by a seed.

A rule is `KIND=WHICH` or `KIND:SECONDS=WHICH`. The same seed, rules and names always give the same faults; a rule's
draw does not depend on the other rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class SiteFault(StrEnum):
    """Faults of a site as a whole."""

    # Nobody listens on its SSH port.
    REFUSE = "refuse"
    # Its SSH port takes connections and never says a word.
    SILENT = "silent"
    # Every login is refused, whatever the password.
    NO_LOGIN = "no-login"
    # Every command begins late.
    SLOW = "slow"
    # Connections are cut after a while.
    DROP = "drop"
    # Nobody becomes root.
    NO_SUDO = "no-sudo"
    # There is no room for the packages.
    PACKAGES_FAIL = "packages-fail"
    # There is no room for the images.
    IMAGES_FAIL = "images-fail"
    # It is listed as offline.
    OFFLINE = "offline"
    # It is listed as unmanaged.
    UNMANAGED = "unmanaged"
    # It has two controllers.
    DUPLEX = "duplex"
    # It runs the target release already.
    REINSTALL = "reinstall"
    # It has an alarm that affects management; only its own sysinv tells.
    ALARM = "alarm"
    # Its Keystone and sysinv do not answer.
    NO_SYSINV = "no-sysinv"


# What a rule takes when it names no seconds.
_DEFAULT_SECONDS: Final[Mapping[SiteFault, float]] = {SiteFault.SLOW: 1.0, SiteFault.DROP: 2.0}

_RULE: Final = re.compile(r"(?P<kind>[a-z-]+)(?::(?P<seconds>\d+(?:\.\d+)?))?=(?P<which>.+)")
_SHARE: Final = re.compile(r"(\d+(?:\.\d+)?)%")
_EVERY: Final = re.compile(r"every ([1-9]\d*)")
_COUNT: Final = re.compile(r"[1-9]\d*")
_WHOLE: Final = 100.0

GRAMMAR: Final = (
    "KIND=WHICH or KIND:SECONDS=WHICH, such as slow=10%, slow:5=3, images-fail='every 50', refuse=edge-0007. "
    "WHICH is a share (10%) or a number (3) of sites, drawn by the seed; `every N`; or the name of a site. "
    f"KIND is one of: {', '.join(SiteFault)}. SECONDS only with slow and drop."
)


class RuleError(ValueError):
    """A rule cannot be understood, or names a site that there is not; the message says what to write."""


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """One rule as it was given."""

    fault: SiteFault
    # For faults that take time, in seconds.
    seconds: float
    which: str


def read_rule(text: str) -> FaultRule:
    """Read a rule.

    Raises:
        RuleError: It is none.
    """
    match = _RULE.fullmatch(text.strip())
    if match is None or match["kind"] not in set(SiteFault):
        raise RuleError(f"{text!r} is no fault. Write {GRAMMAR}")
    fault, which = SiteFault(match["kind"]), match["which"].strip()
    if match["seconds"] is not None and fault not in _DEFAULT_SECONDS:
        raise RuleError(f"{text!r}: {fault} takes no seconds; only {' and '.join(_DEFAULT_SECONDS)} do.")
    share = _SHARE.fullmatch(which)
    if share is not None and float(share[1]) > _WHOLE:
        raise RuleError(f"{text!r}: a share is at most 100%.")
    seconds = _DEFAULT_SECONDS.get(fault, 0.0) if match["seconds"] is None else float(match["seconds"])
    return FaultRule(fault=fault, seconds=seconds, which=which)


def draw_faults(rules: Sequence[FaultRule], names: Sequence[str], seed: int) -> Mapping[str, Mapping[SiteFault, float]]:
    """Return for each site that has any its faults with their seconds.

    A share is rounded to whole sites, but never down to none unless it is 0 %. Of two rules of one kind for one site
    the later counts.

    Raises:
        RuleError: A rule names more sites than there are, or one that there is not.
    """
    found: dict[str, dict[SiteFault, float]] = {}
    for rule in rules:
        for name in _chosen(rule, names, seed):
            found.setdefault(name, {})[rule.fault] = rule.seconds
    return found


def _chosen(rule: FaultRule, names: Sequence[str], seed: int) -> Sequence[str]:
    if every := _EVERY.fullmatch(rule.which):
        return names[int(every[1]) - 1 :: int(every[1])]
    # A stable text, not a hash: hashes of texts differ from process to process.
    dice = Random(f"{seed}/{rule.fault}/{rule.which}")  # noqa: S311 - a draw, not a secret
    if share := _SHARE.fullmatch(rule.which):
        wanted = len(names) * float(share[1]) / _WHOLE
        return dice.sample(names, max(1, round(wanted)) if wanted else 0)
    if _COUNT.fullmatch(rule.which):
        if int(rule.which) > len(names):
            raise RuleError(f"{rule.fault}={rule.which}: there are only {len(names)} sites.")
        return dice.sample(names, int(rule.which))
    if rule.which not in names:
        raise RuleError(f"{rule.fault}={rule.which}: there is no such site. Write {GRAMMAR}")
    return [rule.which]
