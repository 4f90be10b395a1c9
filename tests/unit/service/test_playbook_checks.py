"""The background check of a worker's playbooks, with a stand-in for Ansible."""

from __future__ import annotations

from pathlib import Path

from structlog.testing import capture_logs

from playbook_sets.playbook_readiness import PlaybookReadiness
from playbook_sets.playbook_set import PLAYBOOKS, PlaybookCheck
from service.worker_role import PlaybookChecks
from statemachine.states import PHASES

KILLED = "ansible-playbook is no Ansible that works: it ended with code -9."


class Loader:
    """Stands in for Ansible; `during` happens while it loads the set."""

    def __init__(self) -> None:
        self.during = lambda: None

    def fingerprint(self) -> str:
        """Return the same each time."""
        return "1"

    def first_error(self, *, again: bool = False) -> str | None:
        """Return the error of a process that was killed."""
        self.during()
        return KILLED

    def stop(self) -> None:
        """Do nothing."""


def checks(directory: Path) -> tuple[PlaybookChecks, Loader, list[str]]:
    """Make the checks of a complete set; the list gets an entry for each report."""
    for phase in PHASES:
        if phase in PLAYBOOKS:
            (directory / PLAYBOOKS[phase]).write_text("- hosts: all\n  tasks: []\n")
    loader, reports = Loader(), []
    readiness = PlaybookReadiness(PlaybookCheck(directory), loader)
    return PlaybookChecks(readiness, lambda: reports.append("changed")), loader, reports


def test_a_check_that_a_stop_ends_says_nothing(tmp_path: Path) -> None:
    """A check that is ended by the stop of its worker calls no playbook broken and reports nothing."""
    made, loader, reports = checks(tmp_path)
    loader.during = made.stop

    with capture_logs() as logs:
        made.check()

    assert ([], []) == (logs, reports)


def test_an_error_is_logged_and_reported(tmp_path: Path) -> None:
    """An error that is found is logged with its reason and reported."""
    made, _, reports = checks(tmp_path)

    with capture_logs() as logs:
        made.check()

    assert [("playbooks.broken", KILLED)] == [(line["event"], line["reason"]) for line in logs]
    assert ["changed"] == reports
