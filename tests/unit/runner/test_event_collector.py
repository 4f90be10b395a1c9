"""Rules of what is kept of a run's events."""

from __future__ import annotations

from typing import Any

from runner.event_collector import EventCollector
from runner.masking import Masker


def digest_of(*events: dict[str, Any]) -> tuple[EventCollector, str]:
    """Return the digest of `events` and its output."""
    said: list[str] = []
    digest = EventCollector(Masker(["hush"]), said.append)
    for event in events:
        digest.take(event)
    said += digest.finish()
    return digest, "".join(said)


def failed(message: str) -> dict[str, Any]:
    """Return the event of a failed task."""
    data = {"task": "T", "host": "h", "res": {"msg": message}}
    return {"event": "runner_on_failed", "event_data": data, "stdout": f"fatal: {message}\r\nmore"}


def stats(**data: Any) -> dict[str, Any]:
    """Return the event of a recap."""
    return {"event": "playbook_on_stats", "event_data": data, "stdout": "RECAP"}


def test_output_is_masked() -> None:
    """No secret gets out; line ends are plain."""
    _, output = digest_of(failed("hush was wrong"))

    assert "fatal: ******** was wrong\nmore\n" == output


def test_a_secret_on_the_border_of_two_pieces_is_masked() -> None:
    """Output is cut into pieces after it was masked: whoever follows never gets a secret in two halves."""
    said: list[str] = []
    held: list[str] = []
    digest = EventCollector(Masker(["hush"]), said.append, lambda _at, piece: held.append(piece))
    for length in (32 * 1024 - 2, 2 * 1024 * 1024 - 2):
        digest.take({"event": "verbose", "stdout": "x" * length + "hush" + "y" * 40_000})

    assert len(said) > 2
    assert len(held) > 2
    assert {"x", "y", "*", "\n"} == set("".join(said + held))


def test_a_secret_on_the_border_of_two_events_is_masked() -> None:
    """Ansible wraps its warnings, each line an event: a secret over two of them is masked in output and reason."""
    lines = ["[ERROR]: the password hu", "sh was wrong", "Origin: h", "ush.yml"]
    digest, output = digest_of(*({"event": "verbose", "stdout": f"{line}\r\n"} for line in lines))

    assert "hu" not in output + digest.startup_failure
    assert "sh" not in output + digest.startup_failure
    assert output.startswith("[ERROR]: the password ********")
    assert digest.startup_failure.startswith("the password ********")


def test_where_something_is_left_out_is_known() -> None:
    """Of output that is not whole the digest tells the place and the size of the gap, otherwise nothing."""
    line = {"event": "verbose", "stdout": "x" * 32_767}

    assert (0, 0) == digest_of(*[line] * 128)[0].left_out
    assert (1024 * 1024, 10 * 32_768) == digest_of(*[line] * 138)[0].left_out


def test_an_error_outside_of_tasks_is_told() -> None:
    """What Ansible prints before any play begins is told, secrets masked."""
    loose = {"event": "verbose", "stdout": "[ERROR]: loose hush"}

    assert "loose ********" == digest_of(loose)[0].startup_failure
    assert "" == digest_of(failed("first"))[0].startup_failure


def test_event_without_its_data_is_counted_as_lost() -> None:
    """ansible-runner hands on an event without a name when its file could not be written."""
    digest, _ = digest_of({"uuid": "u", "stdout": "x"})

    assert 1 == digest.lost_events
    assert not digest.complete


def test_facts_are_masked_and_complete() -> None:
    """The recap brings the facts and says that the playbook came to its end."""
    digest, _ = digest_of(stats(processed={"h": 1}, artifact_data={"a": "hush", "n": float("nan")}))

    assert digest.complete
    assert {"a": "********", "n": None} == digest.facts


def test_versions_are_taken_from_the_message_of_a_task() -> None:
    """What upstream's playbook prints about the site becomes a fact: masked, in one line, the last word of several."""
    said = [
        {"event": "runner_on_ok", "event_data": {"res": {"msg": text}}}
        for text in ("prestage_versions: old", "prestage_versions: for-install: 22.12\n - hush", "other", ["a"])
    ]

    assert {"prestage_versions": "for-install: 22.12 - ********"} == digest_of(*said, stats())[0].facts


def test_versions_of_set_stats_win() -> None:
    """A playbook that hands the versions back itself is taken at its word."""
    printed = {"event": "runner_on_ok", "event_data": {"res": {"msg": "prestage_versions: printed"}}}
    digest, _ = digest_of(printed, stats(artifact_data={"prestage_versions": "handed"}))

    assert {"prestage_versions": "handed"} == digest.facts


def test_too_many_facts_are_dropped_and_told() -> None:
    """Facts beyond the limit are left out, and the output says so."""
    digest, output = digest_of(stats(artifact_data={"a": "x" * 300_000}))

    assert {} == digest.facts
    assert "set_stats values dropped" in output
