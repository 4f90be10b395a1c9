"""The prepare playbook: one set per pair of releases, on the controller."""

from __future__ import annotations

import json
import shutil

from tests.integration.playbooks.playbook_site import PlaybookSite, flip_byte, tree


def test_prepare_builds_the_set_once(site: PlaybookSite) -> None:
    """The set holds new and changed packages, metadata, manifest and marker; a second prepare changes nothing."""
    # The subcloud's own connection must not matter: nothing of prepare happens there.
    site.host_vars.update(ansible_connection="ssh", ansible_host="192.0.2.1", ansible_become=True)

    first = site.prepare().require_success()
    before = tree(site.prepared)
    second = site.prepare().require_success()

    manifest = json.loads((site.prepared / "manifest.json").read_text())
    kinds = {entry["path"]: entry["change"] for entry in manifest["files"]}
    held = {path.name for path in (site.prepared / "Packages").iterdir()}
    assert held == {path.split("/")[1] for path, change in kinds.items() if change in ("new", "changed")}
    assert (site.feeds.new_count, site.feeds.changed_count) == (first.stats["new_count"], first.stats["changed_count"])
    assert site.feeds.unchanged_count == list(kinds.values()).count("unchanged")
    assert (1, 0) == (first.changed, second.changed)
    assert before == tree(site.prepared)


def test_failed_prepare_leaves_no_damaged_set(site: PlaybookSite) -> None:
    """A damaged feed fails prepare with its file's name, and neither the new set nor a damaged one is left."""
    site.prepare().require_success()
    victim = next(path for path in site.feeds.target_directory.glob("Packages/*") if "-ng-" in path.name)
    flip_byte(victim)
    flip_byte(site.prepared / "Packages" / victim.name)

    run = site.prepare()

    assert run.return_code != 0
    assert f"Package Packages/{victim.name} in the feed {site.feeds.target_directory} is damaged" in run.failures[0]
    assert [] == [path.name for path in (site.root / "shared").iterdir() if path.is_dir()]


def test_failed_prepare_keeps_the_set_that_others_use(site: PlaybookSite) -> None:
    """A second prepare that fails because the feed has changed and is damaged leaves the intact set as it is."""
    site.prepare().require_success()
    before = tree(site.prepared)
    metadata = site.feeds.target_directory / "repodata" / "repomd.xml"
    whole = metadata.read_bytes()
    # The set holds a link to it.
    metadata.unlink()
    metadata.write_bytes(whole[:-20])
    without_metadata = site.prepare()
    metadata.write_bytes(whole)
    shutil.move(site.feeds.previous_directory, site.root / "elsewhere")
    without_previous = site.prepare()

    assert 0 not in {without_metadata.return_code, without_previous.return_code}
    assert before == tree(site.prepared)
    assert [site.prepared.name] == [path.name for path in (site.root / "shared").iterdir() if path.is_dir()]


def test_an_outdated_set_stays_until_the_new_one_is_whole(site: PlaybookSite) -> None:
    """When the feed has changed the set is made anew beside the old one, which goes only if that succeeds."""
    site.prepare().require_success()
    manifest = site.prepared / "manifest.json"
    content = json.loads(manifest.read_text())
    outdated = json.dumps({**content, "feeds": {**content["feeds"], "target": "0" * 64}})
    manifest.write_text(outdated)
    before = tree(site.prepared)
    victim = next(path for path in site.feeds.target_directory.glob("Packages/*") if "-ng-" in path.name)
    flip_byte(victim)
    failed = site.prepare()
    kept = tree(site.prepared)
    flip_byte(victim)
    site.prepare().require_success()

    assert failed.return_code != 0
    assert before == kept
    assert content == json.loads(manifest.read_text())
    assert [site.prepared.name] == [path.name for path in (site.root / "shared").iterdir() if path.is_dir()]
