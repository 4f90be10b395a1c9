"""Names of files, held to the glossary: they are made of its words or of common ones of Python and operations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.house import SourceTree

ROOT = Path(__file__).parents[3]
# Common words of Python, of programs and of operations. A word of the project belongs to the glossary instead.
_COMMON = """
access address amqp ansible api apidocs app argument assembly asyncapi auth authentication authenticator base body
bounded callback capacity certificate check claimed cleanup cli client cloudevents command comparison completion config
connection content context control create db demo dependency drawing dir directory docs downgrade dramatiq encoding
encryption endpoint entry env envelope error escape failure fake field file health host html http identity import in
info init inspection interface interpretation json key lazy lifecycle limit load log logging machine main message
middleware migrate migration monitoring name of open openapi operation order otlp parse periodic plugin policy pool
precheck prestager private process progress prompt protocol read reader reading ready registering renewal reporter
repository request response result rights route rule scan schema send sender sentence serializer served server service
serving setting shared simulate simulator software source spec ssh staged startup statemachine status table target
text thread tls tracing tree type unavailable up validation variable wiring wording writer writing
"""
COMMON = frozenset(_COMMON.split())


def singular(word: str) -> str:
    """Return a word without the ending of its plural."""
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def glossary_terms() -> list[str]:
    """Return the first column of the glossary's tables."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    return [term for row in rows for term in row.split(", ") if term not in {"word", "---"}]


def known_words() -> set[str]:
    """Return the words that names of files are made of, in the singular."""
    terms = {singular(word) for term in glossary_terms() for word in re.findall(r"[a-z]+", term.lower())}
    return terms | {singular(word) for word in COMMON}


def words_of(path: Path) -> set[str]:
    """Return the words of a module's name and of its packages' names, in the singular."""
    parts = [*path.parts[:-1], path.stem]
    return {singular(word) for part in parts for word in part.strip("_").split("_")}


def test_names_of_files_are_known_words() -> None:
    """Each word of a file's name is a term of the glossary or a common word of Python and operations."""
    known = known_words()
    unknown = {str(path): words_of(path) - known for path in SourceTree().texts}

    assert {path: words for path, words in unknown.items() if words} == {}


def test_the_glossary_has_one_row_for_each_term() -> None:
    """No term of the glossary is explained twice."""
    terms = [term.lower() for term in glossary_terms()]

    assert sorted(term for term in set(terms) if terms.count(term) > 1) == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [("steps", "step"), ("queries", "query"), ("addresses", "address"), ("process", "process"), ("run", "run")],
)
def test_singular(word: str, expected: str) -> None:
    """Plurals count as their singulars."""
    assert expected == singular(word)
