from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from statemachine.errors import SelectorError
from statemachine.selector import parse_selector

# Few, so that selectors and labels meet.
KEYS = st.sampled_from(["in", "lab", "region", "a.b/c-d"])
VALUES = st.sampled_from(["eu", "us", "in", "0", "-", "A_b.c"])
LABELS = st.dictionaries(KEYS, VALUES | st.just(""))
BLANKS = st.sampled_from(["", " ", "\t "])

Labels = dict[str, str]


@st.composite
def terms(draw: st.DrawFn) -> tuple[str, Callable[[Labels], bool]]:
    """Return a term as text, and its meaning as a function."""
    key, value, blank = draw(KEYS), draw(VALUES), draw(BLANKS)
    values = draw(st.lists(VALUES, min_size=1, max_size=3))
    listed = f"{blank},{blank}".join(values)
    return draw(
        st.sampled_from(
            [
                (f"{key}{blank}={blank}{value}", lambda labels: key in labels and labels[key] == value),
                (f"{key}{blank}!={blank}{value}", lambda labels: key not in labels or labels[key] != value),
                (f"{key} in{blank}({listed}{blank})", lambda labels: any(labels.get(key) == one for one in values)),
                (f"{blank}{key}{blank}", lambda labels: key in labels),
                (f"!{blank}{key}", lambda labels: key not in labels),
            ]
        )
    )


@given(chosen=st.lists(terms(), min_size=1, max_size=5), labels=LABELS)
def test_selectors_mean_all_their_terms(chosen: list[tuple[str, Callable[[Labels], bool]]], labels: Labels) -> None:
    """A selector matches exactly where each of its terms does."""
    selector = parse_selector(",".join(text for text, _ in chosen))

    assert selector.matches(labels) is all(holds(labels) for _, holds in chosen)


@given(text=st.text(alphabet="ab =!,()inA.\t\u00e9\n", max_size=30) | st.text(max_size=30), labels=LABELS)
def test_any_text_is_read_or_refused(text: str, labels: Labels) -> None:
    """A text is a selector, or refused with a position inside it or at its end."""
    try:
        selector = parse_selector(text)
    except SelectorError as error:
        position, _, rest = str(error).removeprefix("at character ").partition(": ")
        assert 1 <= int(position) <= len(text) + 1
        assert rest.isascii()
    else:
        assert selector.matches(labels) in {True, False}


@given(labels=st.dictionaries(KEYS, VALUES, min_size=1), other=LABELS)
def test_the_selector_of_all_labels_matches_their_bearer(labels: Labels, other: Labels) -> None:
    """The selector made of a subcloud's labels matches it, and others only where they have the same ones."""
    selector = parse_selector(",".join(f"{key}={value}" for key, value in labels.items()))

    assert selector.matches(labels)
    assert selector.matches(other) is (labels.items() <= other.items())
