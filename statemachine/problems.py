"""Problems: failures with the same cause have the same fingerprint, whichever site, address, file or time they name.

The parts that differ from site to site become `*`, numbers and moments `#`. Both are one character, so that a text
never grows. Repeating it changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from statemachine.failure_classes import class_of_message
from statemachine.states import FailureClass, RunOutcome

# Longest text and longest name of a task in a fingerprint, and most of a message that is looked at, in characters.
TEXT_LENGTH: Final = 300
TASK_LENGTH: Final = 120
_LOOKED_AT: Final = 4000
ID_LENGTH: Final = 12
# A part of a path or file name.
_PART: Final = r"[^\s/'\"`,;:()\[\]{}<>|=]"
_DAYS: Final = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_MONTHS: Final = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
# Names of Ansible's modules and versions have dots as hosts have.
_NOT_A_HOST: Final = r"(?!(?:ansible|community|containers)\.|v?\d+(?:\.\d+)+\b)"

_SECRET: Final = re.compile(
    r"((?:pass(?:word|wd|phrase)?|secret|token|credentials?|api[_-]?key)[\"']?\s?[:=]\s?[\"']?)[^\s\"'*,;]+",
    re.IGNORECASE,
)
# In this order: what is found first is no part of anything else.
_NAMES: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"\b[a-z][a-z0-9+.-]*://[^\s'\"`,;<>]+", re.IGNORECASE),
        # Users and hosts of logins.
        (r"[\w.+-]+@(?:\[[0-9a-f:]+\]|[0-9a-f]*:[0-9a-f]*:[0-9a-f:]*[0-9a-f]|[\w.-]*\w)", re.IGNORECASE),
        (r"\bsha(?:1|256|512):[0-9a-f]+", 0),
        (r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE),
        (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE),
        (r"\b0x[0-9a-f]+\b", re.IGNORECASE),
        (r"\bkey=[a-z]{16,}", 0),
        (r"\bBECOME-SUCCESS-[a-z]+", 0),
    )
)
_MOMENTS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?\b",
        rf"\b(?:(?:{_DAYS}),? )?(?:(?:{_MONTHS}) +\d\d?|\d\d? (?:{_MONTHS})(?: \d{{4}})?)(?: \d\d:\d\d:\d\d)?\b",
        r"\b\d?\d:\d\d:\d\d(?:[.,]\d+)?\b",
    )
)
_ADDRESSES: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?:/\d+)?", 0),
        (
            r"(?<![\w:/.])\[?(?=[0-9a-f:]*\d)(?:[0-9a-f]{1,4}(?=:)|(?=::))(?::[0-9a-f]{0,4}){2,7}(?:%\w+)?(?![\w:])\]?",
            re.IGNORECASE,
        ),
    )
)
_WORDS: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # Images, with their registry or their tag.
        (
            rf"(?<![\w/.*-])(?:[\w-]+(?:\.[\w-]+)+(?::\d+)?|[\w-]+:\d+|localhost)(?:/[a-z0-9][\w.-]*)+(?:[:@]{_PART}+)?",
            0,
        ),
        (rf"(?<![\w/.*-])[a-z0-9][\w-]*(?:/[a-z0-9][\w.-]*)+[:@]{_PART}+", 0),
        # Deep paths.
        (rf"(?<![\w*])(?:[.]?(?:/{_PART}+){{4,}}|~(?:/{_PART}+){{3,}})/?", 0),
        (rf"(?<!\w)/{_PART}{{40,}}", 0),
        # Packages and archives.
        (rf"(?<![\w*])[\w+-]{_PART}*\.(?:rpm|deb|tar|tgz|zip|iso|img|whl|qcow2)(?:\.(?:gz|xz|bz2|zst))?\b", 0),
        # Hosts: three names, or two of which the last is one of hosts.
        (rf"(?<![\w./*'-]){_NOT_A_HOST}[a-z0-9][\w-]*(?:\.[a-z0-9][\w-]*){{2,}}(?![\w/(])", re.IGNORECASE),
        (r"(?<![\w./*-])[a-z0-9][\w-]*\.(?:com|net|org|io|local|lan|internal|example|test|home|corp)\b", re.IGNORECASE),
        # What programs make up.
        (r"\btmp[\w-]{6,10}\b", 0),
        (r"\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,}\b", re.IGNORECASE),
        (r"\b(?=[A-Za-z0-9]*\d[A-Za-z]+\d)[A-Za-z0-9]{8,}\b", 0),
    )
)
# Names that only the words before them give away.
_AFTER: Final = re.compile(
    r"((?:connect to host|resolve hostname|connection (?:to|closed by|reset by)|reading manifest) '?)"
    r"(?!remote host|peer\b)[\w.:-]*[\w-]",
    re.IGNORECASE,
)
_BEFORE: Final = re.compile(r"[^\s*]+(?= is not in the sudoers)")
# Home directories, by user.
_HOME: Final = re.compile(r"(?<![\w.*/~-])(?:/home/[^/\s'\"*]+|/root)(?=/)")
_KNOWN_HOSTS: Final = re.compile(r"Warning: Permanently added .{1,200}? to the list of known hosts\.")
_SIZE: Final = re.compile(r"# ?(?:[KMGT]i?B|bytes|kB)\b")
_PLURAL: Final = re.compile(r"(# (?:\w+ ){0,2}(?:attempt|time|second|minute|file|package|image|site))s\b")
_STARS: Final = re.compile(r"\*{2,}")
_DIGITS: Final = re.compile(r"(?<!SHA-)(?<!SHA-\d)(?<!SHA-\d\d)\d+(?:[.,]\d+)*")
_NUMBERS: Final = re.compile(r"#(?:[.,:x/-]#)+")
_LISTED: Final = re.compile(r"(['\"`]?)\*\1(?:(?:, | |,)(?:and |or )?(['\"`]?)\*\2)+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """The cause that kept a run or a step from succeeding; `failure` makes it, with task and text normalised."""

    failure_class: FailureClass
    # Name of the task that failed; empty: none did.
    task: str
    text: str

    def problem_id(self, phase: str) -> str:
        """Return the fingerprint of this failure in a phase: twelve hexadecimal digits."""
        parts = f"{phase}\0{self.failure_class}\0{self.task}\0{self.text}"
        return sha256(parts.encode("utf-8", "replace")).hexdigest()[:ID_LENGTH]


def failure(
    message: str, *, failure_class: FailureClass | None = None, task: str = "", names: Iterable[str] = ()
) -> Failure:
    """Return a failure with its parts normalised.

    Args:
        message: What went wrong, without secrets.

        failure_class: Kind of trouble; None: the message decides.

        task: The task that failed.

        names: Names and addresses of the site, which are replaced wherever they stand.
    """
    known = tuple(names)
    return Failure(
        failure_class=failure_class or class_of_message(message),
        task=normalise(task, known)[:TASK_LENGTH],
        text=_both_ends(normalise(message, known), TEXT_LENGTH),
    )


def normalise(text: str, names: Iterable[str] = ()) -> str:
    """Return a text without what differs from site to site: in one line, never longer; a repeat changes nothing.

    Args:
        text: A message of a task, a program or the service; of a long one its ends count, 4,000 characters in all.

        names: Names and addresses that are replaced wherever they stand as words, the longest first.
    """
    known = [_whole_word(name) for name in sorted(set(names), key=lambda name: (-len(name), name)) if name]
    seen, found = "", " ".join(_both_ends(text, _LOOKED_AT).split())
    # What one pass replaced may show a name to the next one. Each makes the text shorter or has fewer letters left.
    while found != seen:
        seen = found
        for name in known:
            found = name.sub("*", found)
        found = _pass(found)
    return found


def _both_ends(text: str, length: int) -> str:
    """Return a text cut to a length; messages name the symptom first and the cause last."""
    if len(text) <= length:
        return text
    head = length * 2 // 3
    return f"{text[:head]} ... {text[head + 5 - length :]}"


def _whole_word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-])")


def _pass(text: str) -> str:
    found = _KNOWN_HOSTS.sub("", text)
    found = _HOME.sub("~", _SECRET.sub(r"\1*", found))
    for pattern in _NAMES:
        found = pattern.sub("*", found)
    for pattern in _MOMENTS:
        found = pattern.sub("#", found)
    for pattern in (*_ADDRESSES, *_WORDS):
        found = pattern.sub("*", found)
    found = _BEFORE.sub("*", _AFTER.sub(r"\1*", found))
    found = _NUMBERS.sub("#", _SIZE.sub("#", _DIGITS.sub("#", found)))
    found = _PLURAL.sub(r"\1", _LISTED.sub("*", _STARS.sub("*", found)))
    return " ".join(found.split())


# Failures whose text is the same each time.
LOST: Final = failure("The worker was lost during the run.", failure_class=FailureClass.LOST)
CANCELLED: Final = failure("It was cancelled.", failure_class=FailureClass.CANCELLED)


def failure_of_run(
    outcome: str | None, details: str, *, failure_class: FailureClass | None = None, names: Iterable[str] = ()
) -> Failure | None:
    """Return the failure of a run that brought none itself; None: its outcome is none.

    Args:
        outcome: See `RunOutcome`.

        details: Of a failed run, why.

        failure_class: As for `failure`.

        names: As for `failure`.
    """
    if outcome == RunOutcome.FAILED:
        return failure(details or "no reason given", failure_class=failure_class, names=names)
    return {RunOutcome.LOST: LOST, RunOutcome.CANCELLED: CANCELLED}.get(RunOutcome(outcome)) if outcome else None
