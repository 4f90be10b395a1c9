"""References of the code to sections of the wire contract."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "docs" / "contract.md"
# A reference is "contract 8.9", "(contract 2.2, 12.2)", "(contract 3.3.3 to 3.3.5)" or "contract 7.1 and 7.2".
REFERENCE = re.compile(r"contract,? ((?:\d+(?:\.\d+)*)(?:(?:, | to | and )\d+(?:\.\d+)*)*)", re.IGNORECASE)


def references(text: str) -> set[str]:
    """Return the numbers of sections that a text refers to."""
    return {number for found in REFERENCE.findall(text) for number in re.findall(r"\d+(?:\.\d+)*", found)}


def test_every_reference_leads_to_a_section() -> None:
    """Each section of the contract that a file names is a heading of docs/contract.md."""
    headings = set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", CONTRACT.read_text(encoding="utf-8"), re.MULTILINE))
    listed = subprocess.run(["git", "ls-files", "*.py", "*.md", "*.yml"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().splitlines()]
    named = {number for file in files if file.is_file() for number in references(file.read_text(encoding="utf-8"))}
    assert "8.9" in named
    assert named <= headings


def test_references_are_read_in_every_spelling() -> None:
    """Lists, ranges and single numbers are references."""
    assert references("(contract 3.3.3 to 3.3.5, 12) and Contract 7.1") == {"3.3.3", "3.3.5", "12", "7.1"}
