"""Whether playbooks can be started now."""

from __future__ import annotations

from pathlib import Path

import pytest

from playbook_sets.playbook_readiness import BEING_CHECKED, PlaybookReadiness
from playbook_sets.playbook_set import PLAYBOOKS, PlaybookCheck

ERROR = "x.yml, line 1, needs the module xml."


class Loader:
    """Stands in for Ansible."""

    def __init__(self) -> None:
        self.version = "1"
        self.error: str | None = None
        self.fault: Exception | None = None
        self.loads: list[bool] = []
        self.stopped = False

    def fingerprint(self) -> str:
        return self.version

    def first_error(self, *, again: bool = False) -> str | None:
        self.loads.append(again)
        if self.fault is not None:
            raise self.fault
        return self.error

    def stop(self) -> None:
        self.stopped = True


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Checked:
    """A readiness with what it is made of."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.loader, self.clock = Loader(), Clock()
        self.wanted = 0
        self.readiness = PlaybookReadiness(PlaybookCheck(directory), self.loader, clock=self.clock)
        self.readiness.wanted = self._want

    def _want(self) -> None:
        self.wanted += 1


@pytest.fixture
def checked(tmp_path: Path) -> Checked:
    """Give a readiness of a set in which nothing is wrong, that has not been checked."""
    for name in PLAYBOOKS.values():
        (tmp_path / name).write_text("- hosts: all\n")
    return Checked(tmp_path)


def test_before_the_first_check(checked: Checked) -> None:
    """Until the set was checked no playbook is started, and a check is asked for."""
    assert (None, BEING_CHECKED) == (checked.readiness.error, checked.readiness.obstacle())
    assert 1 == checked.wanted


def test_a_good_set(checked: Checked) -> None:
    """A set that loads has no error and no obstacle, and is not loaded again while its files stay."""
    changes = [checked.readiness.check(), checked.readiness.check()]
    checked.clock.now = 1e6

    assert ([True, False], "", None) == (changes, checked.readiness.error, checked.readiness.obstacle())
    assert not checked.readiness.check()
    assert [False] == checked.loader.loads


def test_a_set_that_does_not_load(checked: Checked) -> None:
    """An error is the obstacle; the set is loaded again two minutes later, for what is missing may have come."""
    checked.loader.error = ERROR
    checked.readiness.check()
    checked.readiness.check()
    before = (checked.readiness.error, checked.readiness.obstacle(), [*checked.loader.loads])
    checked.loader.error, checked.clock.now = None, 121.0
    changed = checked.readiness.check()

    assert (ERROR, ERROR, [False]) == before
    assert (True, "", None) == (changed, checked.readiness.error, checked.readiness.obstacle())


def test_a_set_that_is_changed(checked: Checked) -> None:
    """From the change of a file until the set was checked again no playbook is started; its last error stays told."""
    checked.readiness.check()
    checked.loader.version, checked.clock.now, checked.loader.error = "2", 10.0, ERROR
    meanwhile = (checked.readiness.obstacle(), checked.readiness.error, checked.wanted)
    checked.readiness.check()

    assert (BEING_CHECKED, "", 1) == meanwhile
    assert ERROR == checked.readiness.obstacle()


def test_a_look_holds_for_a_moment(checked: Checked) -> None:
    """Those who only ask look at the files every few seconds; a playbook that is to be started does within half one."""
    checked.readiness.check()
    checked.readiness.obstacle()
    checked.loader.version = "2"
    found = []
    for checked.clock.now, is_asked_only in ((0.4, False), (4.9, True), (4.9, False)):
        found.append(checked.readiness.obstacle(is_asked_only=is_asked_only))

    assert [None, None, BEING_CHECKED] == found


def test_a_change_while_it_is_checked(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while a set is loaded is not covered by what was found."""

    def load(*, again: bool = False) -> None:
        checked.loader.version = "2"

    monkeypatch.setattr(checked.loader, "first_error", load)
    checked.readiness.check()

    assert BEING_CHECKED == checked.readiness.obstacle()


def test_a_missing_playbook(checked: Checked) -> None:
    """What is plain without Ansible is told without it."""
    (checked.directory / "prestage_images.yml").unlink()
    checked.readiness.check()

    assert [] == checked.loader.loads
    assert "has no readable prestage_images.yml" in (checked.readiness.obstacle() or "")


def test_an_old_verdict_is_doubted(checked: Checked) -> None:
    """A doubt has the set loaded again though no file changed, unless that was done two minutes ago or less."""
    checked.readiness.check()
    early = checked.readiness.doubt("a")
    checked.clock.now = 121.0
    late, obstacle = checked.readiness.doubt("a"), checked.readiness.obstacle()
    checked.readiness.check()

    assert (False, True, BEING_CHECKED) == (early, late, obstacle)
    assert ([False, True], None) == (checked.loader.loads, checked.readiness.obstacle())
    assert not checked.readiness.doubt("a")


def test_a_doubt_that_a_file_explains(checked: Checked) -> None:
    """A doubt is over when a file has an error: it is told, and no check after the other is asked for."""
    checked.readiness.check()
    checked.clock.now = 121.0
    checked.readiness.doubt("a")
    (checked.directory / "prestage_images.yml").unlink()
    checked.readiness.check()
    checked.wanted = 0

    assert "has no readable prestage_images.yml" in (checked.readiness.obstacle() or "")
    assert 0 == checked.wanted


def test_one_doubts_once(checked: Checked) -> None:
    """A second doubt of one doubter counts for nothing, however late: it would fail and be begun again for ever."""
    checked.readiness.check()
    found = []
    for checked.clock.now, doubter in ((200.0, "a"), (400.0, "a"), (400.0, "b")):
        found.append(checked.readiness.doubt(doubter))
        checked.readiness.check()

    assert [True, False, True] == found


def test_a_check_that_cannot_be_made(checked: Checked) -> None:
    """A check that fails itself is an obstacle with its reason."""
    checked.loader.fault = OSError(28, "No space left on device")
    checked.readiness.check()

    assert "The playbooks cannot be checked: No space left on device. It is tried again." == checked.readiness.error


def test_without_ansible(checked: Checked) -> None:
    """Where no Ansible runs playbooks nothing stands against them, and errors of files are told still."""
    readiness = PlaybookReadiness(PlaybookCheck(checked.directory / "none"), None)
    readiness.check()

    assert (None, False) == (readiness.obstacle(), readiness.doubt("a"))
    assert "is not a directory" in (readiness.error or "")
