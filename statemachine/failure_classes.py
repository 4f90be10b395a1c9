"""Classes of failures: the kind of trouble, what to do next, and whether another try alone may help.

A class comes from the code of one of our modules or from an event of Ansible; the words of a message decide only where
neither says it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from statemachine.states import FailureClass


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureAdvice:
    """Advice about the failures of a class.

    Attributes:
        retryable: Whether another try may succeed though nothing was mended.

        text: One sentence: what to do next.
    """

    retryable: bool
    text: str


ADVICE: Final = {
    FailureClass.UNREACHABLE: FailureAdvice(
        retryable=True, text="Check the network to these sites and that their SSH server answers, then retry them."
    ),
    FailureClass.LOGIN: FailureAdvice(
        retryable=False,
        text="Retry with these sites' own sysadmin_password, or have the SSH host keys of reinstalled sites forgotten.",
    ),
    FailureClass.PRIVILEGE: FailureAdvice(
        retryable=False, text="Let the login user become root with its password through sudo, then retry."
    ),
    FailureClass.SPACE: FailureAdvice(
        retryable=False, text="Free space in the file system that the text names, then retry."
    ),
    FailureClass.CHECKSUM: FailureAdvice(
        retryable=True, text="Retry; if it fails again, load the content that the text names anew and check the disk."
    ),
    FailureClass.TIMEOUT: FailureAdvice(
        retryable=True, text="Look in the log for what was slow, then retry or raise the time limit of this phase."
    ),
    FailureClass.REGISTRY: FailureAdvice(
        retryable=True, text="Check that the registry answers, has the image and takes the login, then retry."
    ),
    FailureClass.ALARM: FailureAdvice(
        retryable=False, text="Resolve the alarms of these sites, or retry with force to pass over them."
    ),
    FailureClass.VERSION: FailureAdvice(
        retryable=False,
        text="Compare the version that these sites run with the release, and leave out those that differ.",
    ),
    FailureClass.CONTROLLER: FailureAdvice(
        retryable=False, text="Correct on the system controller what the text names, then retry."
    ),
    FailureClass.LOST: FailureAdvice(
        retryable=True, text="Find out from `prestager workers` and their logs why workers ended, then retry."
    ),
    FailureClass.PREPARE: FailureAdvice(
        retryable=False,
        text="Correct the release's content on the system controller by what the text says, then retry.",
    ),
    FailureClass.PROOF: FailureAdvice(
        retryable=True, text="Retry: the content that is missing at these sites is brought again."
    ),
    FailureClass.CANCELLED: FailureAdvice(
        retryable=True, text="Nothing is wrong with these sites: retry them when they are to be prestaged after all."
    ),
    FailureClass.PLAYBOOK: FailureAdvice(
        retryable=False, text="Read the log of the sample, mend what its task says, then retry."
    ),
}

# The first that is found in a message counts.
_WORDS: Final[tuple[tuple[FailureClass, tuple[str, ...]], ...]] = (
    (
        FailureClass.LOGIN,
        (
            r"permission denied \([a-z]",
            r"host key verification failed|recorded ssh host key",
            r"authentication fail|incorrect (?:username/)?password:",
            r"refused the login|takes no passwords from",
        ),
    ),
    (
        FailureClass.PRIVILEGE,
        (r"privilege escalation", r"(?:sudo|su|become) password", r"sudo: |sudoers|su: authentication"),
    ),
    (
        FailureClass.SPACE,
        (
            r"no space left|disk quota exceeded|insufficient space",
            r"not enough (?:free )?(?:disk )?space",
            r"errno (?:28|122)\b",
        ),
    ),
    (
        FailureClass.CHECKSUM,
        (
            r"(?:checksum|digest) (?:for .{1,400} )?(?:(?:did|does) not|doesn't) match|match the expected checksum",
            r"(?:checksum|digest|hash sum) mismatch|mismatched checksum|bad checksum|checksum differs",
            r"is damaged: (?:its )?sha-256",
        ),
    ),
    (
        FailureClass.REGISTRY,
        (
            r"manifest unknown|toomanyrequests|pull access denied|unauthorized: ",
            r"error pulling image|failed to pull image|pulling image configuration|reading manifest",
            r"initializing (?:image )?(?:from )?source docker:|pinging container registry",
            r"requested access to the resource is denied|error response from daemon: get",
        ),
    ),
    (
        FailureClass.TIMEOUT,
        (
            r"timeout when waiting|timeout waiting for|timed out|timeout exceeded|exceeded the timeout",
            r"timeout \(\d+s\)|did not (?:finish|complete) within|was reached in prestag|deadline exceeded",
        ),
    ),
)
_PATTERNS: Final = tuple((kind, re.compile("|".join(words), re.IGNORECASE)) for kind, words in _WORDS)
# Of what Ansible says of a site that it does not reach, these have another cause than the network.
_NOT_NETWORK: Final = frozenset({FailureClass.LOGIN, FailureClass.SPACE})


def class_of_message(message: str, *, is_unreachable: bool = False) -> FailureClass:
    """Return the class of a failure by the words of its message.

    Args:
        message: What the task, or ssh, said.

        is_unreachable: Ansible could not reach the site.
    """
    found = next((kind for kind, pattern in _PATTERNS if pattern.search(message)), FailureClass.PLAYBOOK)
    if is_unreachable:
        return found if found in _NOT_NETWORK else FailureClass.UNREACHABLE
    return found


def class_of_code(code: object) -> FailureClass | None:
    """Return the class that a module named in its answer; None: it named none that there is."""
    return next((kind for kind in FailureClass if kind == code), None)
