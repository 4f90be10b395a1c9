"""What never reaches the log, by the name of its field and by its look."""

from __future__ import annotations

import io
import json
import logging
import sys
from time import process_time

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.dead_letter_commands import shown_body
from messages.secret_names import mask_fields
from monitoring import redaction
from monitoring.logging import configure_logs
from monitoring.redaction import MASK, redact, redact_text

# What texts are made of: all that patterns look for, in any case, with letters that count as others, and between it
# what makes a secret of it.
PIECES = [
    *("prst_", "gAAAA", "://", "u:p@h", "Bearer ", "BASIC ", "Ba\u017fIc ", "ba\u017f\u0131c ", "passw", "d", "word"),
    *("\u017fecret", "Secret", "ssh_pass", "become_PASS", "x-auth-token", "x-subject-token", "-----BEGIN "),
    *("PRIVATE KEY-----", "=", ": ", "'", '"', " ", "\n", "x" * 45, "\u0130", "amqp"),
]


@pytest.mark.parametrize(
    "key",
    ["password", "sysadmin_password", "Passwd", "secret_key", "Authorization", "X-Auth-Token", "token",
     "ansible_ssh_pass", "ansible_become_pass", "sealed_password", "api_key", "set-cookie", "access_token"],
)  # fmt: skip
def test_by_the_name_of_the_field(key: str) -> None:
    """A field of a secret's name has no value in the log, whatever the value is, also deep inside."""
    record = redact(None, "info", {"event": "e", key: "x", "more": [{"deep": {key: ["y", "z"]}}]})

    assert {"event": "e", key: MASK, "more": [{"deep": {key: MASK}}]} == record


@pytest.mark.parametrize("key", ["tokens", "token_name", "passed", "caller", "status", "detail"])
def test_other_fields_stay(key: str) -> None:
    """A field that only sounds alike keeps its value, and numbers and truth values stay what they are."""
    assert {"event": "e", key: "x", "n": 1, "b": True, "o": None} == redact(
        None, "info", {"event": "e", key: "x", "n": 1, "b": True, "o": None}
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("using prst_" + "a" * 43 + " now", f"using {MASK} now"),
        ("signs by whsec_c2VjcmV0c2VjcmV0c2Vj/mV0c2VjcmU= now", f"signs by {MASK} now"),
        ("keystone gAAAAAB" + "x" * 176, f"keystone {MASK}"),
        ("amqp://user:pa$$w0rd@host:5672/", f"amqp://user:{MASK}@host:5672/"),
        ("postgresql+psycopg://me:p%40ss@db/prestager", f"postgresql+psycopg://me:{MASK}@db/prestager"),
        ("Authorization: Bearer abcdefghijkl", f"Authorization: Bearer {MASK}"),
        ("{'ansible_ssh_pass': 'Li69nux*', 'a': 1}", "{'ansible_ssh_pass': " + MASK + ", 'a': 1}"),
        ('{"sysadmin_password": "TGk2OW51eCo=", "a": "b"}', '{"sysadmin_password": ' + MASK + ', "a": "b"}'),
        ("password=abc&force=true", f"password={MASK}&force=true"),
        ("secret" + "y" * 500 + "=abc", "secret" + "y" * 500 + f"={MASK}"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY----- after", f"{MASK} after"),
    ],
)  # fmt: skip
def test_by_its_look(text: str, expected: str) -> None:
    """A secret within a text is hidden and the rest of the text stays."""
    assert expected == redact_text(text)


@pytest.mark.parametrize(
    "text",
    ["http://host:8119/v1.0", "the password is wrong", "ssh://[::1]:22", "basic checks", "12:30:01", "secret",
     "Token 'ops' is in force; revoke it first."],
)  # fmt: skip
def test_innocent_texts_stay(text: str) -> None:
    """A text without a secret is not touched."""
    assert text == redact_text(text)


LONG = 16_384
HEAVY = [
    *("a-", "a.", "secret", "passw", "secret-", 'secret="', "secret='", "secret =", "prst_", "gAAAA", "whsec_", "://"),
    *(
        "a://",
        "://a:",
        "Bearer ",
        "basic ",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY",
        "PRIVATE KEY-----",
        "key",
        '"',
        " ",
    ),
]


@pytest.mark.parametrize("first", ["", "secret", "x://", "password=", "-----BEGIN "])
@pytest.mark.parametrize("heavy", HEAVY)
def test_no_text_takes_long(first: str, heavy: str) -> None:
    """Whatever strangers have us log, to look for secrets takes time in proportion to its length."""
    text = first + heavy * (LONG // len(heavy)) + "\n"
    began = process_time()
    redact_text(text)
    shown_body(text.encode())

    assert process_time() - began < 1.0


@settings(max_examples=500, deadline=None, database=None)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=8))
def test_the_quick_look_misses_nothing(pieces: list[str]) -> None:
    """A text that is taken for innocent at a glance has nothing that the patterns would hide, alone or in a record."""
    text = "".join(pieces)
    looked_through = text
    for pattern in redaction._SECRET_VALUES:
        looked_through = pattern.sub(rf"\g<1>{MASK}", looked_through)
    looked_through = mask_fields(looked_through, MASK)

    assert looked_through == redact_text(text)
    assert {"event": "e", "n": 1, "detail": looked_through} == redact(
        None, "info", {"event": "e", "n": 1, "detail": text}
    )


def test_libraries_that_say_the_same_again_are_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machines' library tells each transition eight times at `info`; we tell it once."""
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logs("json", "info")

        assert not logging.getLogger("transitions.core").isEnabledFor(logging.INFO)
        assert logging.getLogger("transitions.core").isEnabledFor(logging.WARNING)
    finally:
        logging.getLogger().handlers[:], level = before[0], before[1]
        logging.getLogger().setLevel(level)
        structlog.reset_defaults()


@pytest.mark.parametrize("form", ["json", "text"])
def test_in_every_log(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """Our lines, libraries' lines and tracebacks all go through it."""
    sink = io.StringIO()
    monkeypatch.setattr(sys, "stderr", sink)
    before = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        configure_logs(form, "info")  # type: ignore[arg-type]
        structlog.get_logger("ours").info("came", password="Li69nux*", url="amqp://u:Li69nux*@h/")
        logging.getLogger("theirs").warning("connecting to %s", "amqp://u:Li69nux*@h/")
        logging.getLogger("theirs").error("broke", exc_info=ValueError("password=Li69nux*"))
    finally:
        logging.getLogger().handlers[:], level = before[0], before[1]
        logging.getLogger().setLevel(level)
        structlog.reset_defaults()
    text = sink.getvalue()

    assert "Li69nux" not in text
    assert 4 == text.count(MASK)
    if form == "json":
        assert ["came", "connecting to amqp://u:********@h/", "broke"] == [
            json.loads(line)["event"] for line in text.splitlines()
        ]
