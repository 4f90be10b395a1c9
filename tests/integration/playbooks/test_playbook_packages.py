"""The packages of a release, from prepare to the complete site, by the real playbooks over the local connection."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.integration.playbooks.playbook_site import PlaybookSite, build_site, flip_byte, tree

LOCK = ".prestage.lock"


def test_first_run_stages_the_release_and_the_second_changes_nothing(site: PlaybookSite) -> None:
    """A site ends with exactly the target feed, only new and changed packages travel, and a second run is a no-op."""
    site.prepare().require_success()

    first = site.run("prestage_sw_packages.yml").require_success()
    staged = tree(site.release)
    second = site.run("prestage_sw_packages.yml").require_success()

    travelled = site.feeds.new_count + site.feeds.changed_count
    archives = list((site.root / "shared" / "archives").iterdir())
    size = sum(entry.stat().st_size for entry in site.prepared.rglob("*") if "Packages" in str(entry))
    assert 1 == len(archives)
    assert size < archives[0].stat().st_size < size + 40 * 1024
    for kind in ("Packages", "repodata"):
        wanted = {path.name: path.read_bytes() for path in (site.feeds.target_directory / kind).iterdir()}
        assert wanted == {path.name: path.read_bytes() for path in (site.release / kind).iterdir()}
    marker = json.loads((site.release / "prestage_packages_complete.json").read_text())
    assert ("23.09", "22.12", 10) == (marker["release"], marker["from_release"], marker["package_count"])
    assert {"prestaged_release": "23.09", "package_count": 10, "transferred_count": travelled} == {
        key: value for key, value in first.stats.items() if key not in {"bytes", "content_digest", "site_version"}
    }
    assert (0, 0) == (second.changed, second.stats["transferred_count"])
    assert staged == tree(site.release)
    assert [LOCK, "23.09"] == sorted(path.name for path in site.backup.iterdir())


def test_upgrade_without_a_prepared_set_fails_and_says_so(site: PlaybookSite) -> None:
    """An upgrade needs the prepared set of the site's release; without its marker nothing is staged."""
    site.prepare().require_success()
    (site.prepared / "completed.json").unlink()

    run = site.run("prestage_sw_packages.yml")

    assert run.return_code != 0
    assert "have not been prepared on the controller for sites of release 22.12" in run.failures[0]
    assert "Run prepare_prestage_packages.yml first" in run.failures[0]
    assert not site.release.exists()


def test_reinstall_takes_everything_from_the_site_itself(tmp_path: Path) -> None:
    """A site that runs the target (here known from its version file) needs nothing from the controller."""
    site = build_site(tmp_path, version="23.09")
    del site.host_vars["subcloud_software_version"]
    site.host_vars["site_version_file"] = str(tmp_path / "build.info")
    site.host_vars["controller_feed_root"] = "/nonexistent"
    (tmp_path / "build.info").write_text('OS="centos"\nSW_VERSION="23.09"\nBUILD_DATE="2023"\n')

    first = site.run("prestage_sw_packages.yml").require_success()
    second = site.run("prestage_sw_packages.yml").require_success()

    assert 10 == len(site.package_names())
    assert (0, 0) == (first.stats["transferred_count"], second.changed)


def test_controller_side_failure_releases_the_site(site: PlaybookSite) -> None:
    """When packing fails the operator reads why, the site is not complete, and only newer runs are let in."""
    site.prepare().require_success()
    changed = next(path for path in (site.prepared / "Packages").iterdir() if "2.0" in path.name)
    flip_byte(changed)

    run = site.run("prestage_sw_packages.yml", prestager_origin="controller-a", prestager_run_token=7)

    lock = json.loads((site.backup / LOCK).read_text())
    assert 1 == len(run.failures)
    assert f"Packages/{changed.name} is damaged" in run.failures[0]
    assert "Prepare the release again" in run.failures[0]
    assert not (site.release / "prestage_packages_complete.json").exists()
    assert {"holder": None, "newest": {"controller-a": 7}} == lock
    older = site.run("prestage_sw_packages.yml", prestager_origin="controller-a", prestager_run_token=6)
    assert "Superseded by a newer run" in older.failures[0]


def test_damaged_and_missing_packages_of_the_site_come_from_the_controller(site: PlaybookSite) -> None:
    """A site whose own feed is damaged still gets every package right, through the archive."""
    site.prepare().require_success()
    own = sorted(path for path in site.own_feed.glob("Packages/*") if path.name in _unchanged(site))
    flip_byte(own[0])
    own[1].unlink()

    run = site.run("prestage_sw_packages.yml").require_success()

    assert site.feeds.new_count + site.feeds.changed_count + 2 == run.stats["transferred_count"]
    for path in (site.release / "Packages").iterdir():
        wanted = (site.feeds.target_directory / "Packages" / path.name).read_bytes()
        assert hashlib.sha256(wanted).digest() == hashlib.sha256(path.read_bytes()).digest()


def _unchanged(site: PlaybookSite) -> set[str]:
    target = {path.name for path in site.feeds.target_directory.glob("Packages/*")}
    return target & {path.name for path in site.feeds.previous_directory.glob("Packages/*")}


def test_old_releases_leave_the_site_where_a_number_is_set(site: PlaybookSite) -> None:
    """After a successful run the oldest staged releases are removed; the running one and protected ones stay."""
    for release in ("20.06", "21.05", "21.12", "22.12"):
        (site.backup / release).mkdir()
        (site.backup / release / "prestage_packages_complete.json").write_text(json.dumps({"release": release}))
    site.prepare().require_success()

    site.run("prestage_sw_packages.yml").require_success()
    kept_all = {path.name for path in site.backup.iterdir() if path.is_dir()}
    numbers = {"prestage_keep_releases": 2, "prestage_protected_releases": ["21.05"]}
    site.run("prestage_sw_packages.yml", **numbers).require_success()

    assert {"20.06", "21.05", "21.12", "22.12", "23.09"} == kept_all
    assert {"21.05", "22.12", "23.09"} == {path.name for path in site.backup.iterdir() if path.is_dir()}


def test_a_staged_release_is_removed(site: PlaybookSite) -> None:
    """The playbook removes a release that was staged, a repeat changes nothing, and the running release is refused."""
    site.prepare().require_success()
    site.run("prestage_sw_packages.yml").require_success()
    (site.release / "notes.txt").write_text("of the operator")

    first = site.run("unstage_release.yml").require_success()
    second = site.run("unstage_release.yml").require_success()
    running = site.run("unstage_release.yml", software_version="22.12")

    assert (["23.09"], []) == (first.stats["removed_releases"], second.stats["removed_releases"])
    assert ["notes.txt"] == [path.name for path in site.release.iterdir()]
    assert 0 == second.changed
    assert "Release 22.12 stays on this site, for the site runs it." in running.failures[0]
