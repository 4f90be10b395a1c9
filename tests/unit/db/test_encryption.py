"""Sealing with several keys."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from db.encryption import Sealer, key_id, sealed_with
from db.errors import UnsealingError

OLD, NEW = b"o" * 32, b"n" * 32


def unmarked(key: bytes, secret: str, bound_to: str) -> str:
    """Return a secret as it was sealed before keys had ids."""
    nonce = b"0" * 12
    return b64encode(nonce + AESGCM(key).encrypt(nonce, secret.encode(), bound_to.encode())).decode()


def test_the_first_key_seals_and_all_open() -> None:
    """A text is sealed with the first key and says so; a sealer that knows the key at any place opens it."""
    sealed = Sealer(NEW, OLD).seal("pw", bound_to="c")

    assert key_id(NEW) == sealed_with(sealed)
    assert "pw" == Sealer(OLD, NEW).open(sealed, bound_to="c")
    assert (key_id(NEW), key_id(OLD)) == Sealer(NEW, OLD).key_ids


def test_a_key_that_is_missing_is_named() -> None:
    """A text of a key that is not there does not open, and the error names the key and what to do."""
    sealed = Sealer(NEW).seal("pw", bound_to="c")

    with pytest.raises(UnsealingError, match=f"{key_id(NEW)}.*Put it back into PRESTAGER_SECRET_KEY_FILE"):
        Sealer(OLD).open(sealed, bound_to="c")


def test_texts_without_an_id_are_tried() -> None:
    """A text from before keys had ids is opened by whichever key it was sealed with."""
    old = unmarked(OLD, "pw", "c")

    assert "pw" == Sealer(NEW, OLD).open(old, bound_to="c")
    assert key_id(OLD) == Sealer(NEW, OLD).opening_key(old, bound_to="c")
    assert sealed_with(old) is None
    with pytest.raises(UnsealingError):
        Sealer(NEW).open(old, bound_to="c")


@pytest.mark.parametrize("change", [lambda text: text[:-4] + "AAA=", lambda text: key_id(OLD) + text[16:], str.upper])
def test_an_altered_text_does_not_open(change) -> None:
    """A text that was altered, its key's id among it, opens with no key."""
    sealed = change(Sealer(NEW).seal("pw", bound_to="c"))

    assert Sealer(NEW, OLD).opening_key(sealed, bound_to="c") is None


def test_a_text_opens_for_its_command_only() -> None:
    """A text opens only with what it is bound to, whatever keys there are."""
    sealed = Sealer(NEW).seal("pw", bound_to="c")

    with pytest.raises(UnsealingError):
        Sealer(NEW, OLD).open(sealed, bound_to="d")


def test_changed_keys_count_at_once() -> None:
    """Keys that have changed are used from the next use on."""
    given = [None, (NEW, OLD), None]
    sealer = Sealer(OLD, changed=lambda: given.pop(0))
    first = sealer.seal("pw", bound_to="c")
    second = sealer.seal("pw", bound_to="c")

    assert [key_id(OLD), key_id(NEW)] == [sealed_with(first), sealed_with(second)]
    assert (key_id(NEW), key_id(OLD)) == sealer.key_ids


@pytest.mark.parametrize("keys", [(), (b"k" * 31,), (OLD, b"k" * 33)])
def test_wrong_keys(keys: tuple[bytes, ...]) -> None:
    """Without a key, or with one of another length, there is no sealer."""
    with pytest.raises(ValueError, match="secret key"):
        Sealer(*keys)


def test_an_id_says_nothing_of_its_key() -> None:
    """The id of a key is 16 digits that are no part of the key in any spelling."""
    assert 16 == len(key_id(NEW))
    assert key_id(NEW) not in NEW.hex()
