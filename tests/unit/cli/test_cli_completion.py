"""`prestager __complete`: what scripts for completion are answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from client.completion_names import completion_names
from tests.support.waiting import PATIENCE_S

SITES = ("edge-1", "edge-2", "$(reboot)")


class FakeApi(ThreadingHTTPServer):
    """Answers every request with sites, and only once `may_answer` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.may_answer = Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeApi

    def do_GET(self) -> None:
        self.server.may_answer.wait()
        body = json.dumps({"subclouds": [{"id": number, "name": name} for number, name in enumerate(SITES)]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def api(data_dir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An API that the environment names."""
    (tmp_path / "token").write_text("token\n")
    monkeypatch.setenv("PRESTAGER_TOKEN_FILE", str(tmp_path / "token"))
    # The usual limit is too short for a busy machine.
    monkeypatch.setattr("cli.completion.completion_names", partial(completion_names, limit_s=PATIENCE_S))
    with FakeApi() as server:
        monkeypatch.setenv("PRESTAGER_URL", server.url)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def completed(prestager):
    """Return the lines of the answer to words, without summaries."""

    def ask(*words: str) -> list[str]:
        ended = prestager("__complete", *words)
        assert (0, "") == (ended.code, ended.err)
        return [line.partition("\t")[0] for line in ended.out.splitlines()]

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("strat",), ["strategy"]),
        (("strategy", "re"), ["resume", "retry"]),
        (("strategy", "pause", "--re"), ["--reason"]),
        (("strategy", "pause", "--scope", ""), ["starts", "phases"]),
        (("strategy", "pause", "--scope=ph"), ["--scope=phases"]),
        # As bash gives it.
        (("strategy", "pause", "--scope", "=", "ph"), ["phases"]),
        (("strategy", "pause", "--scope", "="), ["starts", "phases"]),
        (("strategy", "pause", "--scope", "starts", "--sc"), []),
        (("strategy", "steps", "--state", "failed", "--stat"), ["--state"]),
        (("strategy", "pause", "--", "--re"), []),
        (("status", "-o", "js"), ["json", "jsonl"]),
        (("-",), ["--help", "--version"]),
        (("nothing", ""), []),
        (("strategy", "nothing", ""), []),
        (
            (
                "strategy",
                "pause",
                "--nothing=",
            ),
            [],
        ),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("token", "create", "alice", "--role", "a"), ["admin"]),
    ],
)
def test_words(completed, words: tuple[str, ...], expected: list[str]) -> None:
    """Commands, options that may still be given, and choices are candidates; of anything unknown there are none."""
    assert ["words", *expected] == completed(*words)


@pytest.mark.parametrize(
    "words", [("strategy", "create", "--password-file", ""), ("subcloud", "import", "fl"), ("whoami", "--ca-file=x")]
)
def test_files(completed, words: tuple[str, ...]) -> None:
    """Where a file is wanted, the shell completes names of files."""
    assert ["files"] == completed(*words)


def test_summaries(prestager) -> None:
    """A command comes with its summary, an option with its help."""
    assert "status\tShow on one screen" in prestager("__complete", "stat").out
    assert (
        "--reason\tShown to all who look at the strategy." in prestager("__complete", "strategy", "pause", "--re").out
    )


@pytest.mark.parametrize(
    "words",
    [("step", "show"), ("subcloud", "show"), ("strategy", "create", "--exclude"), ("subcloud", "labels")],
)
def test_sites(completed, api: FakeApi, words: tuple[str, ...]) -> None:
    """Sites come from the API, without names that the shell could take for more than a name."""
    assert ["words", "edge-1", "edge-2"] == completed(*words, "")
    assert ["words", "edge-2"] == completed(*words, "edge-2")


def test_no_second_argument(completed, api: FakeApi) -> None:
    """Behind the last argument there is nothing to complete."""
    assert ["words"] == completed("step", "show", "edge-1", "")


def test_an_api_that_is_silent(completed, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that does not answer within the limit costs the names: the answer does not wait for it."""
    monkeypatch.setattr("cli.completion.completion_names", completion_names)
    api.may_answer.clear()

    assert ["words"] == completed("step", "show", "")


@pytest.mark.usefixtures("data_dir")
def test_no_api(completed) -> None:
    """Without a token nothing is asked, nothing is told and no name is known."""
    assert ["words"] == completed("step", "show", "")


def test_contexts(completed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contexts come from the operator's own file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "prestager" / "client.toml"
    file.parent.mkdir()
    file.write_text('[contexts.north]\nurl = "http://north:8119"\n[contexts.south]\nurl = "http://south:8119"\n')
    file.chmod(0o600)

    assert ["words", "north", "south"] == completed("status", "--context", "")
    assert ["words", "south"] == completed("status", "--context", "so")
