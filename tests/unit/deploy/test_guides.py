"""The guides name what exists: files, commands, queues, types of commands, tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from broker.amqp.topology import EXCHANGES, QUEUES
from cli.command_table import application
from messages.command_specs import PUBLISHED_SPECS
from service.settings import Settings
from tests.unit.deploy.deploy_files import ROOT

GUIDES = [
    ROOT / "docs" / name
    for name in (
        "amqp.md",
        "containers.md",
        "guarantees.md",
        "operations.md",
        "quickstart.md",
        "starlingx.md",
        "webhooks.md",
    )
]


def words(guide: Path, pattern: str) -> set[str]:
    """Return all that match in a guide."""
    return set(re.findall(pattern, guide.read_text()))


def headings(guide: Path) -> set[str]:
    """Return the headings of a guide as links spell them."""
    lines = re.findall(r"^#+ (.+)$", guide.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_links_and_folders_exist(guide: Path) -> None:
    """Each file and heading that is linked to, and each folder of tests that proves a promise, is there."""
    for target in words(guide, r"\]\(([^):]+)\)"):
        name, _, heading = target.partition("#")
        linked = guide.parent / name if name else guide
        assert linked.is_file(), target
        assert not heading or heading in headings(linked), target
    for folder in words(guide, r"`(tests/[\w/]+)`"):
        assert list((ROOT / folder).rglob("test_*.py")), folder


@pytest.mark.parametrize("guide", [*GUIDES, ROOT / "docker-compose.yml"], ids=lambda guide: guide.name)
def test_commands_and_settings_exist(guide: Path) -> None:
    """Each command and each setting that is named is one of the program's."""
    group: Any = application()
    for first, second in words(guide, r"(?<!=)\bprestager ([a-z][a-z-]+)(?: ([a-z][a-z-]*))?"):
        if first in group.commands and hasattr(group.commands[first], "commands"):
            assert second in group.commands[first].commands, (first, second)
        else:
            assert first in group.commands, first
    given = {name.removeprefix("PRESTAGER_").lower() for name in words(guide, r"PRESTAGER_[A-Z_]+")}
    # What names the file of settings is none itself, tests have one of their own, and clients have two.
    assert given - {"publish", "deploy", "feed", "config", "compose_cache", "url", "token_file"} <= set(
        Settings.model_fields
    )


def test_every_command_is_told() -> None:
    """The guide has each type of command, and no other; each queue and exchange that it names exists."""
    guide = GUIDES[0]
    told = words(guide, r"`((?:strategy|step|subcloud|group|webhook)\.[a-z]+)`")
    events = {"strategy.progress", "strategy.updated", "subcloud.updated", "webhook.disabled"}

    assert PUBLISHED_SPECS.keys() == told - events
    known = {spec.name for spec in (*EXCHANGES, *QUEUES)}
    assert words(guide, r"`(prestager\.[a-z]+(?:\.XQ)?)`") <= known
