"""What a compromised site cannot do to the controller, whatever its Python answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.interface import PlaybookJob
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome, StepState
from tests.integration.runner.hostile_site import HostileSite
from tests.integration.runner.run_watch import LOCAL_HOST_VARS, Results, text
from tests.integration.runner.shared_supervisors import SharedSupervisors
from tests.support.ssh_server import SshServer

# Less than in service, so that an answer without end is over soon.
PROCESS_BYTES = 128 * 1024 * 1024
RUN = "0123456789abcdef" * 2


@pytest.fixture
def site(
    tmp_path: Path, ssh_site: SshServer, shared_supervisors: SharedSupervisors, results: Results
) -> Iterator[HostileSite]:
    """A prepared controller and a site whose Python is a program of the attacker."""
    with shared_supervisors.lent(results, preload=True, process_memory=PROCESS_BYTES) as shared:
        made = HostileSite(tmp_path, ssh_site, shared.supervisor, results)
        prepared = made.run(StepState.PREPARE)
        assert RunOutcome.SUCCEEDED is prepared.outcome, prepared.details
        yield made
        made.remove()


def lacking(missing: Any, **fields: Any) -> dict[str, Any]:
    """Return the answer of a site that lacks something."""
    answer = {
        "changed": True,
        "run": RUN,
        "released": False,
        "missing": missing,
        "upload": "/nonexistent/x.tar",
        "stats": {},
    }
    return {**answer, **fields}


def test_facts_do_not_become_paths_on_the_controller(site: HostileSite) -> None:
    """Facts named like our variables neither remove files in other directories nor fill or read them."""
    new = [entry["path"] for entry in site.manifest["files"] if entry["change"] == "new"]
    victim = str(site.victim)
    names = (
        "prestage_archive_dir",
        "prestage_shared_root",
        "controller_feed_root",
        "prepared_set",
        "prepared_manifest",
    )
    facts = {**dict.fromkeys(names, victim), "software_version": "../../victim", "platform_backup_dir": victim}
    site.answer("prestage_packages", lacking(new, ansible_facts=facts))
    before = site.outside()
    result = site.run(StepState.PACKAGES)

    assert before == site.outside(), result.details
    assert "archives" in {path.name for path in (site.deploy / "23.09" / "prestage" / "shared").iterdir()}


@pytest.mark.parametrize(
    "missing",
    [
        ["../../../../../etc/passwd", "/etc/passwd", "Packages/new.rpm\n", "a" * 100_000],
        [{"path": "/etc/passwd"}],
        "/etc/passwd",
        7,
    ],
    ids=["names", "object", "text", "number"],
)
def test_only_files_of_the_manifest_are_packed(site: HostileSite, missing: Any) -> None:
    """Names that a site says it lacks are looked up, never opened."""
    site.answer("prestage_packages", lacking(missing))
    before = site.outside()
    result = site.run(StepState.PACKAGES)

    assert RunOutcome.FAILED is result.outcome
    assert before == site.outside()
    assert not list(site.deploy.rglob("*.tar"))


def test_a_file_is_packed_once_however_often_it_is_asked_for(site: HostileSite) -> None:
    """An endless list of one file makes one small archive."""
    new = next(entry for entry in site.manifest["files"] if entry["change"] == "new")
    site.answer("prestage_packages", lacking([new["path"]] * 20_000))
    site.run(StepState.PACKAGES)
    archives = list(site.deploy.rglob("*.tar"))

    assert 1 == len(archives)
    assert archives[0].stat().st_size < new["size"] + 64 * 1024


def test_layouts_are_the_controllers_own(site: HostileSite) -> None:
    """A site that names another directory as the source of its images gets nothing of it."""
    blob = {"sha256": site.secret_sha256(), "size": 6}
    image = {"name": "web:1.0", "media_type": "x", "manifest": blob, "blobs": [blob]}
    reference = {"transport": "oci", "location": str(site.victim), "ref": "", "pinned": ""}
    source = {"reference": reference, "path": str(site.victim), "image": image}
    site.answer("prestage_images", lacking([blob["sha256"]], sources=[source]))
    before = site.outside()
    result = site.run(StepState.IMAGES)

    assert RunOutcome.FAILED is result.outcome
    assert "The controller's image list has no layout with blob" in result.details
    assert before == site.outside()
    assert not list(site.deploy.rglob("*.tar"))


@pytest.mark.parametrize("name", ["../../index.json", "a" * 64 + "\n"])
def test_blobs_are_named_by_their_digest(site: HostileSite, name: str) -> None:
    """What is no SHA-256 is no blob, and the sentence says so."""
    site.answer("prestage_images", lacking([name], sources=[]))
    result = site.run(StepState.IMAGES)

    assert RunOutcome.FAILED is result.outcome
    assert "which is no SHA-256" in result.details


@pytest.mark.parametrize("run", ["../../../victim/run", RUN + "\n", ["a"]])
def test_a_transfer_goes_to_the_directory_of_transfers(site: HostileSite, run: Any) -> None:
    """Neither the path nor the run that a site answers chooses where the archive is put."""
    new = [entry["path"] for entry in site.manifest["files"] if entry["change"] == "new"]
    target = site.victim / "run.tar"
    (site.backup / ".prestage-incoming").mkdir()
    site.answer("prestage_packages", lacking(new, run=run, upload=str(target)))
    before = site.outside()
    site.run(StepState.PACKAGES)

    assert before == site.outside()
    assert ["unknown.tar"] == [path.name for path in (site.backup / ".prestage-incoming").iterdir()]


def test_a_site_cannot_add_hosts_or_change_the_controllers_connection(site: HostileSite) -> None:
    """Keys by which Ansible's own actions change the inventory mean nothing in the answer of a site.

    The site lacks packages, so that tasks on the controller follow its answer.
    """
    touched = site.root / "pwned"
    shell = {"ansible_connection": "local", "ansible_python_interpreter": f"/bin/sh -c 'touch {touched}' #"}
    hosts = {
        "add_host": {"host_name": "localhost", "host_vars": shell, "groups": ["all"]},
        "ansible_facts": shell,
        "_ansible_delegated_vars": {"localhost": shell},
        "_ansible_notify": ["x"],
        "invocation": {"module_args": "{{ lookup('pipe', 'touch " + str(touched) + "') }}"},
        "stats": {"x": "{{ lookup('pipe', 'touch " + str(touched) + "') }}"},
    }
    new = [entry["path"] for entry in site.manifest["files"] if entry["change"] == "new"]
    (site.backup / ".prestage-incoming").mkdir()
    site.answer("prestage_packages", {**lacking(new), **hosts})
    site.run(StepState.PACKAGES)

    assert not touched.exists()
    assert [f"{RUN}.tar"] == [path.name for path in (site.backup / ".prestage-incoming").iterdir()]


@pytest.mark.parametrize("answer", ["", "[]", "{" * 100_000, '{"missing": null}'])
def test_what_is_no_answer_fails_the_run(site: HostileSite, answer: str) -> None:
    """An answer that makes no sense fails with a reason, and touches nothing."""
    site.answer("prestage_packages", answer)
    before = site.outside()
    result = site.run(StepState.PACKAGES)

    assert RunOutcome.FAILED is result.outcome
    assert result.details
    assert before == site.outside()


def test_an_answer_without_end_is_cut_off(site: HostileSite) -> None:
    """A site that never stops to answer fails its run when the run has used up its memory, before the deadline."""
    site.answer_without_end("prestage_packages")
    result = site.run(StepState.PACKAGES)

    assert RunOutcome.FAILED is result.outcome
    assert "of memory: what the site answered" in result.details


@pytest.mark.parametrize("injects", [True, False])
def test_facts_are_variables_unless_they_are_kept_apart(
    supervisor: Supervisor, make_job: Callable[..., PlaybookJob], results: Results, tmp_path: Path, injects: bool
) -> None:
    """A site's facts override a role's defaults by Ansible's default, and not where a run keeps them apart."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "answer_facts.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "AnsibleModule({}).exit_json(ansible_facts={'place': 'theirs'})\n"
    )
    (tmp_path / "roles" / "mine" / "defaults").mkdir(parents=True)
    (tmp_path / "roles" / "mine" / "defaults" / "main.yml").write_text("place: ours\n")
    playbook = (
        "- hosts: all\n  gather_facts: false\n  roles: [mine]\n  tasks:\n"
        "    - answer_facts:\n    - set_stats: {data: {place: '{{ place }}', fact: '{{ ansible_facts.place }}'}}\n"
    )
    supervisor.submit(make_job(playbook, host_vars=LOCAL_HOST_VARS, is_ours=not injects))
    result = results.wait()

    assert {"place": "theirs" if injects else "ours", "fact": "theirs"} == result.facts, text(result)
