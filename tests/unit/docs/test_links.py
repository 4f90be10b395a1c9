"""Links of the documents, and the settings that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.settings import Settings

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("playbooks/*.md")])
LINK = re.compile(r"\]\(([^)]+)\)")
SETTING = re.compile(r"\bPRESTAGER_[A-Z_]*[A-Z]")
# Names of the settings' file, of directories in docker-compose.yml, and of what commands over HTTP or only tests read.
NOT_SETTINGS = {
    "PRESTAGER_CRITICAL_SECTION",
    "PRESTAGER_CONFIG",
    "PRESTAGER_CONTEXT",
    "PRESTAGER_DEPLOY",
    "PRESTAGER_FEED",
    "PRESTAGER_COMPOSE_CACHE",
    "PRESTAGER_TEST_ANSIBLE_PLAYBOOK",
    "PRESTAGER_TOKEN_FILE",
    "PRESTAGER_CONNECT_S",
    "PRESTAGER_URL",
}
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Each link of a document to a file of the repository leads to one, and to a heading of it where one is named."""
    for link in LINK.findall(CODE.sub("", document.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name) if name else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_document_is_in_the_index() -> None:
    """docs/index.md links every document beside it."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [
        path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md" and f"({path.name})" not in text
    ] == []


def test_settings_that_are_named_exist() -> None:
    """Each `PRESTAGER_` name in a document about the program of today is a setting."""
    known = {f"PRESTAGER_{name}".upper() for name in Settings.model_fields} | NOT_SETTINGS
    of_today = [path for path in DOCUMENTS if path.name != "CHANGELOG.md" and "decisions" not in path.parts]
    named = {name for path in of_today for name in SETTING.findall(path.read_text(encoding="utf-8"))}

    assert set() == named - known
    assert "PRESTAGER_BROKER_URL" in named
