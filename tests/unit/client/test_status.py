"""The screen of `prestager status`, made from answers of the API."""

from __future__ import annotations

import io
from typing import Any

import pytest

from client.drawing import ENDLESS, Canvas, Colour, LiveLines, packed
from client.status import Seen, live_lines, next_commands, status_lines

COUNTS = dict.fromkeys(
    (
        "not-started",
        "queued",
        "running",
        "preparing",
        "parked",
        "complete",
        "skipped",
        "failed",
        "aborted",
        "cancelled",
    ),
    0,
)
PROBLEM = {
    "id": "3fa9c2d1e0b7",
    "count": 21,
    "class": "login",
    "phase": "prestaging-packages",
    "text": "Permission denied (publickey,password), as the site answers to the password that the strategy has",
    "first": "2026-11-22 01:19:00.000000",
    "last": "2026-11-22 02:04:00.000000",
    "clouds": ["edge-0014", "edge-0015"],
}
WORKER = {"slots": 16, "running": 16, "alive": True, "draining": False, "playbooks-error": "", "name": "w"}
HOLD = {
    "kind": "budget",
    "scope": "starts",
    "by": "",
    "since": "2026-11-22 02:00:00.000000",
    "reason": "more than 30 failed",
}


def canvas(columns: int, *, has_colours: bool = False) -> Canvas:
    """Return a canvas of a terminal that shows blocks."""
    return Canvas(columns=columns, has_blocks=True, has_colours=has_colours)


def strategy(state: str = "applying", commands: tuple[str, ...] = ("abort", "cancel", "pause"), **more: Any) -> Any:
    """Return a strategy over 1,000 sites of which 612 have ended."""
    counts = {"complete": 566, "skipped": 9, "failed": 37, "running": 16, "queued": 34, "not-started": 338}
    stage = {"number": 13, "last": 20, "total": 50, "ended": 12}
    progress = {**COUNTS, **counts, "total": 1000, "blocked-by": [], "stage": stage, **more.pop("progress", {})}
    return {
        "id": 12,
        "state": state,
        "extra-args": {"prestage-software-version": "23.09"},
        "requested-by": "alice",
        "started-at": "2026-11-22 01:12:00.000000",
        "created-at": "2026-11-22 01:10:00.000000",
        "holds": [],
        "limit-reached": "",
        "commands": list(commands),
        "progress": progress,
        **more,
    }


def seen(**more: Any) -> Seen:
    """Return what is seen of a strategy with failures."""
    return Seen(**{"strategy": strategy(), "problems": [PROBLEM], "others": 16, "workers": [WORKER], **more})


@pytest.mark.parametrize("columns", [80, 120])
def test_the_screen_fits(columns: int) -> None:
    """Strategy, counts, causes, workers and next commands fit into 80 and 120 columns, and no command is broken."""
    lines = status_lines(seen(health={"dead-letters": 0}), canvas(columns))

    assert max(map(len, lines)) <= columns
    text = "\n".join(lines)
    for part in (
        "Strategy 12   23.09   APPLYING   by alice",
        "stage 13 of 20",
        "612/1000",
        "complete 566   skipped 9   failed 37   running 16   waiting for a slot 34",
        "Failures (37)",
        "such as edge-0014",
        "Workers 1 of 1   slots 16/16   dead letters 0",
        "prestager step explain edge-0014",
        "prestager strategy watch",
    ):
        assert part in text


def test_nothing_is_cut_in_a_pipe() -> None:
    """Without a terminal every cause and all next commands are one line each."""
    lines = status_lines(seen(), canvas(ENDLESS))

    assert any(PROBLEM["text"] in line for line in lines)
    assert lines[-1] == (
        "Next: prestager strategy problems | prestager step explain edge-0014 | prestager strategy watch"
        " | prestager strategy pause"
    )


def test_pace_and_end() -> None:
    """Pace and the likely end are shown where the answer has them, and why the end is not known where it says so."""
    eta = {"p10": "2026-11-22 03:01:00.000000", "p50": None, "p90": "2026-11-22 03:14:00.000000"}
    known = "\n".join(status_lines(seen(strategy=strategy(progress={"pace": 4.1, "eta": eta})), canvas(120)))
    unknown = "\n".join(
        status_lines(
            seen(strategy=strategy(progress={"pace": 0, "eta": None, "eta-missing": "held by alice"})), canvas(120)
        )
    )

    assert "pace 4.1/min   likely done 2026-11-22 03:01 to 03:14 UTC" in known
    assert "pace 0/min   end not known: held by alice" in unknown
    assert "pace" not in "\n".join(status_lines(seen(), canvas(120)))


def test_moments_of_two_days() -> None:
    """A span over midnight has both days, so that its end is not taken for the day of its begin."""
    problem = PROBLEM | {"first": "2026-11-21 23:50:00.000000"}

    assert "2026-11-21 23:50 to 2026-11-22 02:04 UTC" in "\n".join(status_lines(seen(problems=[problem]), canvas(120)))


def test_a_hold() -> None:
    """A hold is told with its reason, and the first command is the one that ends it."""
    held = strategy(holds=[HOLD], commands=("abort", "cancel", "pause", "resume"))
    lines = status_lines(seen(strategy=held), canvas(80))

    assert "Held by budget since 2026-11-22 02:00:00: more than 30 failed (starts)" in lines
    assert next_commands(held, [])[0] == "prestager strategy resume --allow-failures N"
    assert "prestager strategy pause" not in next_commands(held, [])


def test_an_end_with_failures() -> None:
    """After an end with failures the sites with the most frequent cause can be retried."""
    ended = strategy("failed", ("delete", "retry"))

    assert next_commands(ended, [PROBLEM]) == [
        "prestager strategy problems",
        "prestager step explain edge-0014",
        "prestager strategy retry --problem 3fa9c2d1e0b7 --apply",
        "prestager strategy delete",
        "prestager strategy show 12",
    ]


def test_without_a_strategy() -> None:
    """Without a strategy the screen says so, shows the last one, and how to begin."""
    past = strategy("complete", ("delete",)) | {"finished-at": "2026-11-22 02:00:00.000000"}
    lines = status_lines(Seen(strategy=None, past=past, workers=[WORKER]), canvas(80))

    assert lines[0] == "There is no strategy."
    assert "strategy 12: complete at 2026-11-22 02:00:00 UTC" in lines[1]
    assert "Next: prestager strategy preview | prestager strategy create" in lines[-2]


def test_no_worker() -> None:
    """Without a living worker the screen says that nothing starts."""
    lines = status_lines(seen(workers=[WORKER | {"alive": False}]), canvas(80))

    assert "No worker is alive, so no site starts. Look: prestager workers" in lines


def test_hostile_names() -> None:
    """Signs that a terminal would obey are replaced, whatever a site is called."""
    text = "\n".join(status_lines(seen(problems=[PROBLEM | {"clouds": ["a\x1b[2J"], "text": "\x07x"}]), canvas(80)))

    assert not {"\x1b", "\x07"} & set(text)


def test_bars() -> None:
    """A bar is as long as it is said to be, in blocks and in ASCII, and its parts are coloured."""
    parts = [(50, Colour.GREEN), (25, Colour.RED)]

    assert canvas(80).bar(parts, 100, 8) == "██████░░"
    assert canvas(80).bar([(1, Colour.GREEN)], 16, 8) == "▌░░░░░░░"
    assert Canvas(columns=80, has_blocks=False, has_colours=False).bar(parts, 100, 8) == "######.."
    assert canvas(80).bar([(0, Colour.GREEN)], 0, 8) == "░" * 8
    rest = canvas(80, has_colours=True).bar([(1, Colour.RED), (0, Colour.YELLOW)], 16, 8)
    assert rest == "\x1b[31m▌\x1b[0m░░░░░░░"
    assert "\x1b[32m████\x1b[0m\x1b[31m██\x1b[0m" in canvas(80, has_colours=True).bar(parts, 100, 8)


def test_packed() -> None:
    """Parts are packed into lines and none is broken."""
    assert packed(["aaa", "", "bbb", "cccccccccc"], 9, gap=" | ", indent="") == ["aaa | bbb", "cccccccccc"]


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [80, 120])
def test_a_watch_has_two_bars(columns: int) -> None:
    """A watch keeps a bar of the whole and one of the present stage in sight, equally long; a single stage has none."""
    lines = live_lines(strategy(), canvas(columns))
    alone = {"number": 1, "last": 1, "total": 1000, "ended": 612}
    single = live_lines(strategy(progress={"stage": alone}), canvas(columns))

    assert max(map(len, lines)) <= columns
    (whole, stage) = [line for line in lines if "░" in line]
    assert whole.endswith("612/1000")
    assert stage.endswith("12/50 of stage 13")
    assert whole.rindex("░") == stage.rindex("░")
    assert 1 == sum("░" in line for line in single)


def test_lines_are_drawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines take the place of those that stand, however many rows these have, and `erase` takes them away once."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    live = LiveLines(stream, {})
    live.show(["one", Colour.RED + "x" * 80 + "\x1b[0m", "y" * 81])
    live.show(["two"])
    live.erase()
    live.erase()

    assert live.is_live
    assert stream.getvalue().endswith("\n\x1b[4A\r\x1b[Jtwo\n\x1b[1A\r\x1b[J")


@pytest.mark.parametrize(("stream", "term"), [(io.StringIO(), "xterm"), (Terminal(), "dumb")])
def test_nothing_is_drawn_in_place_elsewhere(stream: io.StringIO, term: str) -> None:
    """In a pipe, and on a terminal that cannot draw in place, live lines write nothing."""
    live = LiveLines(stream, {"TERM": term})
    live.show(["one"])
    live.erase()

    assert (False, "") == (live.is_live, stream.getvalue())
