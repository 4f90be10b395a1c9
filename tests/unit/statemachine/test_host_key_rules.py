"""Rules by which a presented host key is judged."""

from __future__ import annotations

import pytest

from statemachine.host_keys import (
    HostKeyPolicy,
    HostKeyVerdict,
    RecordedHostKeys,
    changed_key_reason,
    classify_host_key,
    missing_key_reason,
)

OLD, OTHER, NEW = "ssh-ed25519 old", "ssh-rsa other", "ssh-ed25519 new"
NOTHING = RecordedHostKeys()
RECORDED = RecordedHostKeys(keys=[OLD, OTHER], version="22.12", are_given=True)
ACCEPT_NEW, STRICT = HostKeyPolicy.ACCEPT_NEW, HostKeyPolicy.STRICT


@pytest.mark.parametrize("policy", [ACCEPT_NEW, STRICT])
@pytest.mark.parametrize("presented", [OLD, OTHER])
def test_any_recorded_key_matches(policy: HostKeyPolicy, presented: str) -> None:
    """A site may have several keys; each of them is good, whatever version it runs."""
    verdict = classify_host_key(presented, RECORDED, trusted_version="23.09", policy=policy)

    assert HostKeyVerdict.MATCHES is verdict


@pytest.mark.parametrize(("policy", "verdict"), [(ACCEPT_NEW, HostKeyVerdict.RECORD), (STRICT, HostKeyVerdict.MISSING)])
def test_the_first_key(policy: HostKeyPolicy, verdict: HostKeyVerdict) -> None:
    """A key that nothing is known of is recorded with accept-new and refused with strict."""
    assert verdict is classify_host_key(NEW, NOTHING, trusted_version="22.12", policy=policy)


@pytest.mark.parametrize(
    ("policy", "trusted_version", "verdict"),
    [
        (ACCEPT_NEW, "23.09", HostKeyVerdict.REPLACE),
        # A site may be reinstalled with an older version too.
        (ACCEPT_NEW, "21.12", HostKeyVerdict.REPLACE),
        (ACCEPT_NEW, "22.12", HostKeyVerdict.CHANGED),
        (ACCEPT_NEW, None, HostKeyVerdict.CHANGED),
        (STRICT, "23.09", HostKeyVerdict.CHANGED),
    ],
)
def test_another_key(policy: HostKeyPolicy, trusted_version: str | None, verdict: HostKeyVerdict) -> None:
    """Another key counts as the first one only with accept-new and a trusted version that is not that of the record."""
    assert verdict is classify_host_key(NEW, RECORDED, trusted_version=trusted_version, policy=policy)


@pytest.mark.parametrize("presented", [OLD, NEW])
def test_keys_of_a_first_contact_are_not_given(presented: str) -> None:
    """With strict a key that was recorded at a first contact is not good, neither is any other."""
    recorded = RecordedHostKeys(keys=[OLD], version="22.12")
    verdict = classify_host_key(presented, recorded, trusted_version="23.09", policy=STRICT)

    assert HostKeyVerdict.MISSING is verdict


def test_a_version_that_is_not_known_has_not_changed() -> None:
    """Keys without a trusted version beside them are not replaced, whatever version the site has now."""
    recorded = RecordedHostKeys(keys=[OLD], version=None)
    verdict = classify_host_key(NEW, recorded, trusted_version="23.09", policy=ACCEPT_NEW)

    assert HostKeyVerdict.CHANGED is verdict


def test_the_sentences_say_what_to_do() -> None:
    """Each names the command with the site, and that no password was sent."""
    changed = changed_key_reason("edge-1", recorded=["SHA256:a", "SHA256:b"], presented="SHA256:c")
    missing = missing_key_reason("edge-1")

    assert "recorded is SHA256:a or SHA256:b, the site presents SHA256:c." in changed
    assert "prestager subcloud forget-host-key edge-1" in changed
    assert "prestager subcloud set-host-key edge-1 FILE" in missing
    assert all("No password was sent to it." in text for text in (changed, missing))
