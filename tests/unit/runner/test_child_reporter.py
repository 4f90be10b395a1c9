"""Rules of what a child says to its supervisor, and when."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from runner import child_reporter as reporter_module
from runner.child_reporter import ReportSender
from runner.progress import Progress
from runner.protocol import Output, OutputPreview, Report, decode_report


class Pipe:
    """A reporter and what comes out of it."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._file = os.fdopen(self._read, "rb")
        self.reporter = ReportSender(self._write)

    def next(self) -> Report:
        """Wait for the next report and return it."""
        return decode_report(self._file.readline())

    def rest(self) -> list[Report]:
        """Close and return what was not read yet."""
        self.reporter.close()
        os.close(self._write)
        return [decode_report(line) for line in self._file]

    def end(self) -> None:
        """Close the reading end."""
        self._file.close()


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    """Give a reporter that tells what passes only once in a test."""
    monkeypatch.setattr(reporter_module, "_PASSING_EVERY_S", 3600.0)
    made = Pipe()
    yield made
    made.end()


def tasks(count: int) -> Progress:
    """Return a progress."""
    return Progress(tasks=count)


def test_the_first_progress_is_told_at_once_and_later_the_newest(pipe: Pipe) -> None:
    """The first is told without waiting; of those that come soon after, the last one is told with the end."""
    pipe.reporter.show(tasks(1))
    first = pipe.next()
    for count in range(2, 100):
        pipe.reporter.show(tasks(count))
    pipe.reporter.settle()

    assert tasks(1) == first
    assert [tasks(99)] == pipe.rest()


def test_previews_are_the_newest_and_bounded(pipe: Pipe) -> None:
    """Of much held back output what came last is told, and only so much."""
    pipe.reporter.show(tasks(1))
    pipe.next()
    for place in range(100):
        pipe.reporter.preview(place, f"{place:04}" * 8192)

    assert [98, 99] == [one.at_bytes for one in pipe.reporter._previews]
    pipe.reporter.settle()
    assert [] == pipe.rest()


def test_what_was_said_goes_before_what_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preview of later output never comes before the output that was sent before it."""
    monkeypatch.setattr(reporter_module, "_PASSING_EVERY_S", 0.0)
    pipe = Pipe()
    for place in range(500):
        pipe.reporter.send(Output(text=f"{place}"))
    pipe.reporter.preview(500, "500")
    found = [pipe.next() for _ in range(501)]

    assert [Output(text=f"{place}") for place in range(500)] == found[:500]
    assert OutputPreview(at_bytes=500, text="500") == found[500]
    assert [] == pipe.rest()
    pipe.end()


def test_a_reader_that_is_gone_is_no_error() -> None:
    """When nobody reads, saying things and closing go on as ever."""
    pipe = Pipe()
    pipe.end()
    pipe.reporter.send(Output(text="x"))
    pipe.reporter.show(tasks(1))
    pipe.reporter.close()
    os.close(pipe._write)
