"""Rules of keeping output within bounds."""

from __future__ import annotations

from runner.event_collector import BoundedText


def collect(bounded: BoundedText, *texts: str) -> str:
    """Return all that comes out when `texts` go in."""
    passed = [piece for text in texts for piece in bounded.add(text)]
    return "".join([*passed, *bounded.finish()])


def test_short_text_passes_at_once() -> None:
    """Text within the head's limit is passed on as it comes."""
    bounded = BoundedText(head_limit_bytes=10, tail_limit_bytes=10)

    assert ["hello"] == list(bounded.add("hello"))
    assert [] == list(bounded.finish())


def test_text_within_both_limits_is_complete() -> None:
    """What fits in head and tail together loses nothing and gets no extra line."""
    assert "headtailmore" == collect(BoundedText(4, 8), "head", "tail", "more")


def test_the_middle_is_left_out_and_counted() -> None:
    """Of more text the newest is kept, and a line tells how many bytes are missing."""
    text = collect(BoundedText(4, 4), "head", "gone", "ä€", "tail")

    assert "head\n[... 9 bytes of output left out here ...]\ntail" == text


def test_order_is_kept_after_the_head_is_full() -> None:
    """A short text never slips into the head past a longer one that was held back."""
    assert "ab" == "".join(collect(BoundedText(3, 100), "ab", "cdefg", "h"))[:2]
    assert "abcdefgh" == collect(BoundedText(3, 100), "ab", "cdefg", "h")


def test_what_is_held_back_is_told_with_its_place() -> None:
    """Whoever follows is told each piece that is held back, and where it is in all that was printed."""
    held: list[tuple[int, str]] = []
    bounded = BoundedText(4, 4, on_held=lambda at, piece: held.append((at, piece)))
    text = collect(bounded, "hä", "gone", "ä€", "tail")

    assert [(3, "gone"), (7, "ä€"), (12, "tail")] == held
    assert (3, 9) == (bounded.head_bytes, bounded.cut_bytes)
    assert text.startswith("hä\n[... 9 bytes")


def test_one_huge_text_is_cut_too() -> None:
    """Limits hold for a single text that is longer than all of them."""
    text = collect(BoundedText(100_000, 100_000), "x" * 1_000_000)

    assert len(text) < 200_100
    assert "left out here" in text
