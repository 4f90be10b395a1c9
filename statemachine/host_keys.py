"""Classify the SSH host key that a site presents by the keys that are recorded of it.

A key is one text, `<type> <base64>`, as OpenSSH writes it into `known_hosts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class HostKeyPolicy(StrEnum):
    """Policy for SSH host keys of sites (PRESTAGER_HOST_KEYS)."""

    # The first key of a site is recorded, every later one compared with it.
    ACCEPT_NEW = "accept-new"
    # Only keys that the operator gave are accepted.
    STRICT = "strict"
    # No key is checked.
    IGNORE = "ignore"


class HostKeyOrigin(StrEnum):
    """Origin of a recorded key."""

    FIRST_CONTACT = "first-contact"
    # Presented by a site whose software version had changed since the key before was recorded.
    REINSTALLED = "reinstalled"
    # By import or on the command line.
    GIVEN = "given"


class HostKeyVerdict(StrEnum):
    """Verdict on the key that a site presents."""

    # It is recorded.
    MATCHES = "matches"
    # Nothing is recorded: record it.
    RECORD = "record"
    # Another one is recorded, of the site before it was reinstalled: replace that.
    REPLACE = "replace"
    # Another one is recorded: send no password.
    CHANGED = "changed"
    # The operator gave none, and only given keys are accepted: send no password.
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class RecordedHostKeys:
    """The keys of one site as they are recorded.

    Attributes:
        keys: Each as `<type> <base64>`; empty: none is recorded.

        version: Trusted software version of the site when it was last known by them; None: no trusted one is known,
            so that none can differ from it.

        are_given: Whether the operator gave them.
    """

    keys: Sequence[str] = ()
    version: str | None = None
    are_given: bool = False


def classify_host_key(
    presented: str, recorded: RecordedHostKeys, *, trusted_version: str | None, policy: HostKeyPolicy
) -> HostKeyVerdict:
    """Return the verdict on the key that a site presents.

    `trusted_version` is the site's software version if it was read over verified TLS or set by an administrator, else
    None: an attacker between the controller and the site must not be able to have a changed key accepted.
    """
    if policy is HostKeyPolicy.STRICT and not recorded.are_given:
        return HostKeyVerdict.MISSING
    if presented in recorded.keys:
        return HostKeyVerdict.MATCHES
    accepts_new = policy is HostKeyPolicy.ACCEPT_NEW
    if not recorded.keys:
        return HostKeyVerdict.RECORD if accepts_new else HostKeyVerdict.MISSING
    was_reinstalled = None not in {trusted_version, recorded.version} and trusted_version != recorded.version
    return HostKeyVerdict.REPLACE if accepts_new and was_reinstalled else HostKeyVerdict.CHANGED


def changed_key_reason(name: str, *, recorded: Sequence[str], presented: str) -> str:
    """Return the sentence for a site with another key than the recorded ones; all keys are fingerprints."""
    return (
        f"Its SSH host key has changed: recorded is {' or '.join(recorded)}, the site presents {presented}."
        " No password was sent to it. If the site was reinstalled, run:"
        f" prestager subcloud forget-host-key {name} (or --group GROUP for all sites of a group)."
        " If it was not, another server answers at its address."
    )


def missing_key_reason(name: str) -> str:
    """Return the sentence for a site without a given key where only given keys are accepted."""
    return (
        "No SSH host key was given for it, and PRESTAGER_HOST_KEYS=strict accepts no others."
        f" No password was sent to it. Give its key: prestager subcloud set-host-key {name} FILE,"
        " or the variable prestager_host_key with prestager subcloud import --update."
    )
