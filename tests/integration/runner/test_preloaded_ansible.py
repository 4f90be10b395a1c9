"""Runs are forked from one process that has loaded Ansible; it may be hurt, grow old, or be out of date."""

from __future__ import annotations

import logging
import os
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from runner.ansible_installation import AnsibleInstallation
from runner.preload import client, preloaded_ansible
from statemachine.states import RunOutcome
from tests.integration.runner.forked_runs import HELLO, SHOW, MakeJob, MakeSupervisor, Plain, run, template_of
from tests.integration.runner.run_watch import Results, Waiting, hosts_of_runs, text
from tests.support.waiting import wait_for


def test_a_run_is_forked(
    make_supervisor: MakeSupervisor, waiting: Waiting, results: Results, worker: str, plain: Plain
) -> None:
    """The process that hosts a run is a child of the template process, and none is started plainly."""
    supervisor = make_supervisor(on_plain_start=plain)
    supervisor.submit(waiting.job)
    waiting.wait_until_running()
    (host,) = hosts_of_runs(worker)

    assert template_of(worker).pid == host.ppid()
    assert 0 == plain.count

    supervisor.stop_run(1, "enough")
    results.wait()


def test_runs_survive_the_template_process(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, worker: str, tmp_path: Path, plain: Plain
) -> None:
    """Runs of a killed template process go on to their right end, and the next run is forked from a new one."""
    supervisor = make_supervisor(on_plain_start=plain)
    go = tmp_path / "go"
    wait = SHOW % f"lookup('pipe', 'touch {tmp_path}/began; until [ -e {go} ]; do sleep 0.1; done; echo it went on')"
    supervisor.submit(make_job(wait))
    wait_for((tmp_path / "began").exists)
    first = template_of(worker)
    first.kill()
    wait_for(lambda: not first.is_running())
    hello = run(supervisor, results, make_job(HELLO, run_id=2))
    second = template_of(worker)
    go.touch()
    result = results.wait(1)

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)
    assert "it went on" in text(result)
    assert "hello site1" in hello
    assert first.pid != second.pid
    assert 0 == plain.count


def test_a_frozen_template_process_is_given_up(
    make_supervisor: MakeSupervisor,
    make_job: MakeJob,
    results: Results,
    worker: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A template process that does not answer is waited for a bounded time; the run is right all the same."""
    monkeypatch.setattr(client, "_FORK_S", 0.5)
    supervisor = make_supervisor()
    run(supervisor, results, make_job(HELLO))
    frozen = template_of(worker)
    frozen.suspend()
    output = run(supervisor, results, make_job(HELLO, run_id=2))

    assert "hello site1" in output
    assert not frozen.is_running()


def test_a_template_process_that_stays_frozen_leaves_runs_plain(
    make_supervisor: MakeSupervisor,
    make_job: MakeJob,
    results: Results,
    monkeypatch: pytest.MonkeyPatch,
    plain: Plain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where no template process loads in time, runs are started plainly, which is counted and warned of."""
    monkeypatch.setattr(client, "_LOAD_S", 0.01)
    supervisor = make_supervisor(on_plain_start=plain)
    output = run(supervisor, results, make_job(HELLO))

    assert "hello site1" in output
    assert 1 == plain.count
    assert "Ansible is not preloaded, each run loads it: Ansible did not load within 0.01 s" in caplog.text


def test_a_trial_that_goes_wrong_leaves_runs_plain(
    make_supervisor: MakeSupervisor,
    make_job: MakeJob,
    results: Results,
    tmp_path: Path,
    plain: Plain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An Ansible that does not do what is expected of a trial run is not preloaded; each run starts it plainly."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "breaks.py").write_text(
        "from ansible.plugins.vars import BaseVarsPlugin\n"
        "class VarsModule(BaseVarsPlugin):\n"
        "    def get_vars(self, loader, path, entities):\n"
        "        return {'ansible_connection': 'missing' for entity in entities if entity.name == 'canary'}\n"
    )
    config = tmp_path / "ansible.cfg"
    config.write_text(f"[defaults]\nvars_plugins = {tmp_path}/plugins\n")
    supervisor = make_supervisor(on_plain_start=plain, ansible=AnsibleInstallation(config=config))
    run(supervisor, results, make_job(HELLO))
    run(supervisor, results, make_job(HELLO, run_id=2))

    assert 2 == plain.count
    assert 1 == caplog.text.count("the trial run ended with")


def test_another_python_is_started_plainly(
    make_supervisor: MakeSupervisor,
    make_job: MakeJob,
    results: Results,
    tmp_path: Path,
    plain: Plain,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An ansible-playbook that is not of this program's environment is not preloaded; the log says why, once."""
    program = tmp_path / "ansible-playbook"
    program.write_text(f'#!/bin/sh\nexec {AnsibleInstallation().program} "$@"\n')
    program.chmod(0o755)
    with caplog.at_level(logging.INFO):
        supervisor = make_supervisor(on_plain_start=plain, ansible=AnsibleInstallation(program=program))
        output = run(supervisor, results, make_job(HELLO))

    assert "hello site1" in output
    assert 0 == plain.count
    assert f"Ansible is not preloaded: {program} belongs to another Python" in caplog.text


def test_a_template_process_is_exchanged_after_many_forks(
    make_supervisor: MakeSupervisor,
    make_job: MakeJob,
    results: Results,
    worker: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After its last fork a template process ends, and the next run has another."""
    monkeypatch.setattr(preloaded_ansible, "_MOST_FORKS", 2)
    supervisor = make_supervisor()
    seen = []
    for run_id in (1, 2, 3):
        run(supervisor, results, make_job(HELLO, run_id=run_id))
        seen.append(template_of(worker).pid)

    assert seen[0] == seen[1] != seen[2]
    wait_for(lambda: not psutil.pid_exists(seen[0]))


def test_a_changed_configuration_is_loaded(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, tmp_path: Path, worker: str
) -> None:
    """The next run after a change of ansible.cfg, or of a plug-in that it names, goes by what is there now."""
    (tmp_path / "filters").mkdir()
    plugin = tmp_path / "filters" / "own.py"
    config = tmp_path / "ansible.cfg"

    def write(answer: str, timeout: int) -> None:
        plugin.write_text(
            f"class FilterModule:\n    def filters(self):\n        return {{'own': lambda _: '{answer}'}}\n"
        )
        settings = f"[defaults]\nfilter_plugins = {tmp_path}/filters\ntimeout = {timeout}\n"
        if not config.exists() or config.read_text() != settings:
            config.write_text(settings)

    write("first", 41)
    supervisor = make_supervisor(ansible=AnsibleInstallation(config=config))
    job = SHOW % "(0 | own) ~ ' ' ~ lookup('config', 'DEFAULT_TIMEOUT')"
    outputs = [run(supervisor, results, make_job(job))]
    for run_id, (answer, timeout) in enumerate([("second one", 41), ("second one", 42)], start=2):
        write(answer, timeout)
        outputs.append(run(supervisor, results, make_job(job, run_id=run_id)))

    expected = ["first 41", "second one 41", "second one 42"]
    assert expected == [next(found for found in expected if found in output) for output in outputs]


def test_no_secret_reaches_the_template_process(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, worker: str
) -> None:
    """What a run is told is neither in the memory nor in the environment of the process that it was forked from."""
    secret, variable = "S3cr3t-in-a-run", "V4riable-of-a-run"
    supervisor = make_supervisor()
    for run_id in (1, 2):
        job = make_job(HELLO, run_id=run_id, secrets={"ansible_become_pass": secret}, extra_vars={"own": variable})
        run(supervisor, results, job)
    memory = memory_of(template_of(worker))

    assert b"AnsibleCollectionFinder" in memory
    assert secret.encode() not in memory
    assert variable.encode() not in memory


def memory_of(process: psutil.Process) -> bytes:
    """Return everything that a process has in memory that it can write, and its environment; for root."""
    place = Path(f"/proc/{process.pid}")
    pieces = [(place / "environ").read_bytes()]
    with (place / "mem").open("rb", buffering=0) as memory:
        for line in (place / "maps").read_text().splitlines():
            area, rights = line.split()[:2]
            if rights.startswith("rw"):
                begin, end = (int(text, 16) for text in area.split("-"))
                memory.seek(begin)
                pieces.append(memory.read(end - begin))
    return b"".join(pieces)


def test_runs_at_once_know_only_themselves(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, run_root: Path
) -> None:
    """Fifty runs at once each have their host, random numbers, temporary directory and output of their own."""
    supervisor = make_supervisor(slots=50, available_memory=lambda: 2**40)
    shown = "[inventory_hostname, own, (10**12) | random, lookup('config', 'DEFAULT_LOCAL_TMP')] | join(' ')"
    for run_id in range(1, 51):
        fields = {"host": f"site{run_id}", "extra_vars": {"own": f"wörd{run_id}"}}
        supervisor.submit(make_job(SHOW % shown, run_id=run_id, **fields))
    outputs = {run_id: text(results.wait(run_id)) for run_id in range(1, 51)}
    words = {run_id: output.partition('"msg": "')[2].partition('"')[0].split() for run_id, output in outputs.items()}

    assert [] == [result.details for result in results.all if result.outcome is not RunOutcome.SUCCEEDED]
    assert all([f"site{run_id}", f"wörd{run_id}"] == words[run_id][:2] for run_id in words)
    assert 50 == len({found[2] for found in words.values()})
    places = {found[3] for found in words.values()}
    assert 50 == len(places)
    assert all(place.startswith(str(run_root)) for place in places)
    assert not any(Path(place).exists() for place in places)
    assert not any("Warning" in output or "WARNING" in output for output in outputs.values())


def test_a_template_process_does_not_grow(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, worker: str
) -> None:
    """Eighty runs leave its descriptors as they were, its memory within 1 MiB, and no process behind."""
    supervisor = make_supervisor(slots=8)
    supervisor_itself = psutil.Process()
    state: list[tuple[int, int, int]] = []
    run_id = 0
    for count in (20, 80):
        for _ in range(count // 4):
            ids = [run_id := run_id + 1 for _ in range(4)]
            for each in ids:
                supervisor.submit(make_job(HELLO, run_id=each))
            assert all(results.wait(each).outcome is RunOutcome.SUCCEEDED for each in ids)
        template = template_of(worker)
        wait_for(partial(_has_no_child, template))
        state.append((template.num_fds(), template.memory_full_info().uss, supervisor_itself.num_fds()))

    assert state[0][0] == state[1][0]
    assert state[1][1] - state[0][1] < 2**20
    assert state[1][2] <= state[0][2] + 2


def _has_no_child(process: psutil.Process) -> bool:
    return not process.children()


def test_a_stopped_supervisor_leaves_no_template_process(
    make_supervisor: MakeSupervisor, make_job: MakeJob, results: Results, worker: str
) -> None:
    """When `stop` returns, the template process is gone, also one that is frozen."""
    supervisor = make_supervisor()
    run(supervisor, results, make_job(HELLO))
    template = template_of(worker)
    os.kill(template.pid, signal.SIGSTOP)
    supervisor.stop()

    assert not template.is_running()
