from __future__ import annotations

from base64 import b64encode

import pytest

from api.send_command import seal_password
from db.encryption import Sealer
from db.errors import UnsealingError

SEALER = Sealer(b"k" * 32)


def test_good_password() -> None:
    """The decoded password is sealed, and opens only with the command's id."""
    sealed, fault = seal_password("TGk2OW51eCo=", SEALER, bound_to="c1")

    assert fault is None
    assert sealed is not None
    assert SEALER.open(sealed, bound_to="c1") == "Li69nux*"
    with pytest.raises(UnsealingError):
        SEALER.open(sealed, bound_to="c2")


def test_wrapped_base64() -> None:
    """Line ends inside of base64, which the usual command makes of long passwords, do not matter."""
    password = "pässword" * 12
    encoded = b64encode(password.encode()).decode()
    sealed, _ = seal_password(f"{encoded[:76]}\n{encoded[76:]}\n", SEALER, bound_to="c")

    assert sealed is not None
    assert password == SEALER.open(sealed, bound_to="c")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("secret1\n", "secret1"),
        ("secret1\r\n", "secret1"),
        ("secret1", "secret1"),
        (" a b \n", " a b "),
        ("a\n\n", "a\n"),
    ],
)
def test_one_line_end_is_no_part_of_a_password(sent: str, kept: str) -> None:
    """What `echo` adds is taken off once, so that the password is masked as it is used; all else stays."""
    sealed, _ = seal_password(b64encode(sent.encode()).decode(), SEALER, bound_to="c")

    assert sealed is not None
    assert kept == SEALER.open(sealed, bound_to="c")


@pytest.mark.parametrize("value", [None, "", " \n", "Cg==", "DQo="])
def test_no_password(value: str | None) -> None:
    """Nothing, or nothing but blanks or a line end, is a missing password."""
    assert seal_password(value, SEALER, bound_to="c") == (None, "missing")


@pytest.mark.parametrize("value", ["abc", "Li69nux*", "/////w==", "pässword", 5, True, ["TGk2OW51eCo="], {"a": 1}])
def test_undecodable_password(value: object) -> None:
    """What is no base64 of UTF-8 text is undecodable; a password that was not encoded is found out."""
    assert seal_password(value, SEALER, bound_to="c") == (None, "undecodable")
