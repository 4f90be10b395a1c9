"""The survey of the controller's directories that heartbeats report."""

from __future__ import annotations

from pathlib import Path

from playbook_sets.controller_content import ControllerSurvey
from playbook_sets.phase_playbooks import ControllerLayout


def layout(root: Path) -> ControllerLayout:
    """Return a controller below a directory."""
    return ControllerLayout(
        playbooks_dir=root / "playbooks",
        deploy_dir=root / "deploy",
        feed_dir=root / "feed",
        ssh_user="sysadmin",
        origin="here",
        deadlines_s={},
    )


def test_releases_and_feeds(tmp_path: Path) -> None:
    """Directories called like releases are releases, those called rel-MM.mm are feeds, in the order of releases."""
    for name in ("deploy/22.12", "deploy/9.1", "deploy/24.09", "deploy/tmp", "deploy/rel-1.1", "feed/rel-22.12"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("feed/24.09", "feed/rel-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "deploy" / "23.09").write_text("a file")

    content = ControllerSurvey(layout(tmp_path)).look()

    assert (("9.1", "22.12", "24.09"), ("22.12",)) == (content.releases, content.feeds)


def test_nothing_is_there(tmp_path: Path) -> None:
    """Directories that are missing hold nothing."""
    content = ControllerSurvey(layout(tmp_path)).look()

    assert ((), ()) == (content.releases, content.feeds)
