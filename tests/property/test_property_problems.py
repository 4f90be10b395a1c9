"""Normalising holds for every text: it never grows, a repeat changes nothing, and secrets do not pass."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from statemachine.problems import TEXT_LENGTH, failure, normalise

# Parts of texts that programs print, which arbitrary characters hit too seldom.
PARTS = st.sampled_from(
    [
        "ssh: connect to host ",
        "10.0.0.17",
        "[fd00::12]:22",
        " port 22",
        "/home/ops/.ansible/tmp/x",
        "2026-11-29T10:00:00Z",
        "Nov 29 10:22:33",
        "tmpYcHRrH",
        "sha256:0a1b",
        "foo-1.2-3.x86_64.rpm",
        "registry.local:9001/stx/app:v1",
        "*",
        "#",
        "ops@edge-1.example.com",
        "password=",
        "https://u:p@h/x",
        "'edge-1', 'edge-2'",
        "1.5 GiB",
        "0x7f1c",
        " 3 attempts",
        "deadbeef01",
        " is not in the sudoers file",
        "reading manifest ",
        " ",
        "\n",
        "edge-1",
        "(f.yml:6:5)",
        "-",
        ".",
        ":",
    ]
)
TEXTS = st.lists(PARTS | st.text(max_size=12), max_size=25).map("".join)
NAMES = st.lists(st.sampled_from(["edge-1", "10.0.0.17", "ops", "e", "#", "*"]) | st.text(max_size=8), max_size=4)


@settings(max_examples=400, deadline=None)
@given(TEXTS, NAMES)
def test_a_repeat_changes_nothing(text: str, names: list[str]) -> None:
    """What is normalised stays as it is."""
    once = normalise(text, names)
    assert normalise(once, names) == once


@settings(max_examples=400, deadline=None)
@given(TEXTS, NAMES)
def test_a_text_never_grows(text: str, names: list[str]) -> None:
    """A normalised text is at most as long as the text, and that of a failure has its limit."""
    assert len(normalise(text, names)) <= len(text)
    assert len(failure(text, names=names).text) <= min(len(text), TEXT_LENGTH)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_number_makes_no_difference(text: str, one: int, other: int) -> None:
    """Two texts that differ in a number are the same problem."""
    assert normalise(f"{text} needs {one} bytes") == normalise(f"{text} needs {other} bytes")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["password", "Passwd", "secret", "token", "api_key", "passphrase"]),
    st.sampled_from(["=", ": ", ":", " = "]),
    st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEF0123456789!$%&+-", min_size=4, max_size=20),
)
def test_what_is_named_a_secret_does_not_pass(name: str, sign: str, value: str) -> None:
    """A value behind the name of a secret is in no normalised text."""
    assert value not in normalise(f"failed with {name}{sign}{value} at the site")
