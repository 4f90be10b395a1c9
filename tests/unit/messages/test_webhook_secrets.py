"""Signing secrets and signatures."""

from __future__ import annotations

from base64 import b64encode

import pytest

from messages.webhook_secrets import key_of, make_secret, seal_tag, signatures


def test_vector_of_the_specification() -> None:
    """The signature is the one that libraries for Standard Webhooks verify."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'

    signed = signatures([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)

    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signed


def test_one_signature_for_each_secret() -> None:
    """Several secrets give several signatures with a space between them, each as it would be alone."""
    secrets = [make_secret(), make_secret()]

    both = signatures(secrets, "id", 1, b"x")

    assert both.split(" ") == [signatures([one], "id", 1, b"x") for one in secrets]


def test_made_secrets() -> None:
    """A made secret has 32 bytes, and no two are the same."""
    first, second = make_secret(), make_secret()

    assert 32 == len(key_of(first))
    assert first != second


@pytest.mark.parametrize(
    "text", ["", "whsec_", "c2VjcmV0" * 4, "whsec_a", "whsec_" + "c2VjcmV0" * 3, "whsec_" + "c2VjcmV0" * 11, "whsec_ü"]
)
def test_no_secret(text: str) -> None:
    """What is not whsec_ and 24 to 64 bytes in base64 is no secret."""
    with pytest.raises(ValueError, match=r"does not|is not"):
        key_of(text)


def test_faults_do_not_repeat_the_value() -> None:
    """The fault of a wrong secret does not hold it."""
    for text in ("hidden-thing", "whsec_hidden-thing", "whsec_aGlkZGVu"):
        with pytest.raises(ValueError, match=r"does not|is not") as fault:
            key_of(text)

        assert "hidden" not in str(fault.value) + repr(fault.value.__cause__)
        assert "aGlk" not in str(fault.value)


@pytest.mark.parametrize("count", [24, 32, 64])
def test_lengths(count: int) -> None:
    """From 24 to 64 bytes every length is good."""
    assert count == len(key_of("whsec_" + b64encode(b"x" * count).decode()))


def test_tags_tell_seals_apart() -> None:
    """The tag of a sealed secret is short, the same each time, and another for another."""
    assert (16, True, False) == (len(seal_tag("a")), seal_tag("a") == seal_tag("a"), seal_tag("a") == seal_tag("b"))
