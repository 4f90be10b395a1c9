"""Forked runs take vaults, collections, plug-ins and settings as a run that loads Ansible does."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.ansible_installation import AnsibleInstallation
from tests.integration.runner.forked_runs import SHOW, MakeJob, MakeSupervisor, Plain, run
from tests.integration.runner.run_watch import Results


def test_vaults_are_opened(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """Files of variables that are encrypted with Ansible Vault are read where the configuration names the password."""
    from ansible.parsing.vault import VaultLib, VaultSecret  # noqa: PLC0415

    vault = VaultLib([("default", VaultSecret(b"V4ultW0rd"))])
    (tmp_path / "vars.yml").write_bytes(vault.encrypt(b"hidden: a treasure\n"))
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_bytes(vault.encrypt(b"place: on an island\n"))
    (tmp_path / "word").write_text("V4ultW0rd\n")
    config = tmp_path / "ansible.cfg"
    config.write_text(f"[defaults]\nvault_password_file = {tmp_path}/word\n")
    supervisor = make_supervisor(ansible=AnsibleInstallation(config=config))
    job = SHOW.replace("  tasks:", "  vars_files: [vars.yml]\n  tasks:") % "hidden ~ ' ' ~ place"

    assert "a treasure on an island" in run(supervisor, results, make_job(job))
    (tmp_path / "vars.yml").write_bytes(vault.encrypt(b"hidden: another treasure\n"))
    assert "another treasure on an island" in run(supervisor, results, make_job(job, run_id=2))


def test_variables_beside_a_playbook_are_read(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, tmp_path: Path, plain: Plain
) -> None:
    """Variables of groups and hosts beside a playbook, and of its plug-ins for variables, are those of now."""
    for name in ("group_vars/all", "host_vars", "vars_plugins"):
        (tmp_path / name).mkdir(parents=True)
    supervisor = make_supervisor(on_plain_start=plain)
    for run_id in (1, 2):
        (tmp_path / "group_vars" / "all" / "main.yml").write_text(f"of_group: g{run_id}\n")
        (tmp_path / "host_vars" / "site1.yml").write_text(f"of_host: h{run_id}\n")
        (tmp_path / "vars_plugins" / "own.py").write_text(
            "from ansible.plugins.vars import BaseVarsPlugin\nclass VarsModule(BaseVarsPlugin):\n"
            f"    def get_vars(self, loader, path, entities):\n        return {{'of_plugin': 'p{run_id}'}}\n"
        )
        output = run(supervisor, results, make_job(SHOW % "of_group ~ of_host ~ of_plugin", run_id=run_id))

        assert f"g{run_id}h{run_id}p{run_id}" in output
    assert 0 == plain.count


@pytest.mark.parametrize("adjacent", [True, False], ids=["beside the playbook", "configured"])
def test_collections_are_found_and_never_stale(
    make_supervisor: MakeSupervisor,
    make_job: MakeJob,
    results: Results,
    tmp_path: Path,
    plain: Plain,
    adjacent: bool,
) -> None:
    """A filter and a module of a collection are found, and those of the next run are what they are by then."""
    place = tmp_path / "collections" if adjacent else tmp_path / "elsewhere"
    plugins = place / "ansible_collections" / "own" / "tools" / "plugins"
    for kind in ("filter", "modules"):
        (plugins / kind).mkdir(parents=True)
    ansible = AnsibleInstallation(collections=() if adjacent else (place,))
    supervisor = make_supervisor(ansible=ansible, on_plain_start=plain)
    job = (
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - {own.tools.ask: {}, register: asked}\n"
        '    - {debug: {msg: "{{ asked.answer | own.tools.loud }}"}}\n'
    )
    outputs = []
    for run_id, mark in enumerate(("!", "!!?"), start=1):
        (plugins / "filter" / "loud.py").write_text(
            f"class FilterModule:\n    def filters(self):\n        return {{'loud': lambda text: text + '{mark}'}}\n"
        )
        (plugins / "modules" / "ask.py").write_text(
            "from ansible.module_utils.basic import AnsibleModule\n"
            f"AnsibleModule(argument_spec={{}}).exit_json(answer='answer{run_id}')\n"
        )
        outputs.append(run(supervisor, results, make_job(job, run_id=run_id)))

    assert 'answer1!"' in outputs[0]
    assert 'answer2!!?"' in outputs[1]
    assert 0 == plain.count


def test_plugins_beside_a_playbook_are_its_own(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """A filter, an action, a module and a test beside a playbook are found, and changed ones by the next run."""
    for kind in ("filter_plugins", "test_plugins", "action_plugins", "library"):
        (tmp_path / kind).mkdir()
    supervisor = make_supervisor()
    job = (
        "- hosts: all\n  gather_facts: false\n  tasks:\n"
        "    - {acts: {}, register: acted}\n    - {asks: {}, register: asked}\n"
        '    - {debug: {msg: "{{ acted.msg ~ asked.answer ~ (0 | own) ~ (0 is wanted) }}"}}\n'
    )
    for run_id in (1, 2):
        (tmp_path / "filter_plugins" / "own.py").write_text(
            f"class FilterModule:\n    def filters(self):\n        return {{'own': lambda _: 'f{run_id}'}}\n"
        )
        (tmp_path / "test_plugins" / "wanted.py").write_text(
            f"class TestModule:\n    def tests(self):\n        return {{'wanted': lambda _: {run_id} == 2}}\n"
        )
        (tmp_path / "action_plugins" / "acts.py").write_text(
            "from ansible.plugins.action import ActionBase\nclass ActionModule(ActionBase):\n"
            f"    def run(self, tmp=None, task_vars=None):\n        return {{'msg': 'a{run_id}'}}\n"
        )
        (tmp_path / "library" / "asks.py").write_text(
            "from ansible.module_utils.basic import AnsibleModule\n"
            f"AnsibleModule(argument_spec={{}}).exit_json(answer='m{run_id}')\n"
        )
        output = run(supervisor, results, make_job(job, run_id=run_id))

        assert f'"msg": "a{run_id}m{run_id}f{run_id}{run_id == 2}"' in output


def test_the_locale_of_the_service_does_not_matter(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs read and print UTF-8 whatever the locale of the service is."""
    for name in ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING"):
        monkeypatch.setenv(name, "ascii" if name == "PYTHONIOENCODING" else "POSIX")
    job = SHOW % "'wörd ✓ ' ~ lookup('env', 'LANG') ~ lookup('pipe', 'echo ✓ $LC_ALL')"

    assert "wörd ✓ C.UTF-8✓ C.UTF-8" in run(make_supervisor(), results, make_job(job))


def test_sets_of_others_and_ours_take_turns(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, plain: Plain
) -> None:
    """Variables that Ansible reads when it is loaded are those of the set that a run belongs to."""
    supervisor = make_supervisor(on_plain_start=plain, warm=1)
    job = SHOW % "lookup('config', 'INJECT_FACTS_AS_VARS') ~ ' ' ~ lookup('config', 'ALLOW_BROKEN_CONDITIONALS')"
    outputs = [
        run(supervisor, results, make_job(job, run_id=run_id, is_ours=is_ours))
        for run_id, is_ours in enumerate((True, False, False, True), start=1)
    ]

    assert ["False False", "True True", "True True", "False False"] == [
        next(words for words in ("False False", "True True") if words in output) for output in outputs
    ]
    assert 0 == plain.count
