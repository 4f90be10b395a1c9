"""What comes back from a playbook: outcome, sentence, output, facts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.ansible_installation import AnsibleInstallation
from runner.interface import PlaybookJob
from runner.supervisor import Supervisor
from statemachine.states import FailureClass, RunOutcome
from tests.integration.runner.run_watch import LOCAL_HOST_VARS, Results, text

MakeJob = Callable[..., PlaybookJob]

HEAD = "- hosts: all\n  gather_facts: false\n  tasks:\n"


def tasks(*lines: str) -> str:
    """Return a playbook of tasks, one flow mapping per line."""
    return HEAD + "".join(f"    - {line}\n" for line in lines)


@pytest.mark.quick
def test_success_brings_facts_and_output(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """Values of set_stats come back as facts, of all tasks together, and the output is what Ansible prints."""
    playbook = tasks(
        "{set_stats: {data: {release: '{{ release }}', count: 3}}}",
        "{set_stats: {data: {nested: {list: [1, null, true]}}}}",
        "{debug: {msg: 'größer als 世界'}}",
    )
    supervisor.submit(make_job(playbook, extra_vars={"release": "9.0"}))
    result = results.wait()

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)
    assert {"release": "9.0", "count": 3, "nested": {"list": [1, None, True]}} == result.facts
    assert "größer als 世界" in text(result)
    assert "PLAY RECAP" in text(result)
    assert "\x1b" not in text(result)


@pytest.mark.parametrize(
    ("lines", "host_vars", "kind", "why"),
    [
        (["{name: Check, fail: {msg: 'No space left on device'}}"], {}, FailureClass.SPACE, ("Check", None)),
        (
            ["{name: Call, shell: 'echo site1 at 10.0.0.7 broke >&2; exit 4'}"],
            {},
            FailureClass.PLAYBOOK,
            ("Call", "command returned #: * at * broke"),
        ),
        (
            ["{name: Reach, ping: {}}"],
            {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9},
            FailureClass.UNREACHABLE,
            # Its text is that of ssh, or of Ansible when ssh has ended before it was given anything.
            ("Reach", None),
        ),
        (
            ["{name: Rescue, block: [{fail: {msg: first}}], rescue: [{debug: {}}]}", "{name: End, fail: {msg: last}}"],
            {},
            FailureClass.PLAYBOOK,
            ("End", "last"),
        ),
    ],
    ids=["space", "names", "unreachable", "rescued"],
)
def test_a_failure_has_its_class(
    supervisor: Supervisor,
    make_job: MakeJob,
    results: Results,
    lines: list[str],
    host_vars: dict[str, object],
    kind: FailureClass,
    why: tuple[str, str | None],
) -> None:
    """A failed run says by class, task and normalised text why: of the first task that nothing rescued."""
    supervisor.submit(make_job(tasks(*lines), host_vars={**LOCAL_HOST_VARS, **host_vars}))
    found = results.wait().failure

    assert found is not None
    assert (found.failure_class, found.task) == (kind, why[0])
    if why[1] is not None:
        assert found.text == why[1]


def test_a_success_has_no_failure(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """A run that succeeded has no class, though a task of it was rescued."""
    supervisor.submit(make_job(tasks("{block: [{fail: {msg: first}}], rescue: [{debug: {}}]}")))

    assert results.wait().failure is None


def test_a_deadline_is_a_timeout(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """A run that its deadline has stopped is of the class `timeout`."""
    supervisor.submit(make_job(tasks("{name: Wait, command: sleep 600}"), deadline_s=5.0))
    found = results.wait().failure

    assert found is not None
    assert found.failure_class is FailureClass.TIMEOUT
    assert found.text.startswith("did not finish within # s")


@pytest.mark.parametrize(
    ("lines", "details"),
    [
        (
            ["{name: Check, fail: {msg: 'the disk is too small'}}"],
            "task 'Check' on site1: the disk is too small",
        ),
        (
            ["{name: Call, shell: 'echo first >&2; echo no route >&2; exit 4'}"],
            "task 'Call' on site1: command returned 4: no route",
        ),
        (
            ["{name: Each, command: 'test {{ item }} = a', loop: [a, b]}"],
            "task 'Each' on site1: item 'b': command returned 1",
        ),
        (
            ["{name: Quiet, command: /bin/false, no_log: true}"],
            "task 'Quiet' on site1: the reason is hidden because the task sets no_log",
        ),
        (
            [
                "{block: [{fail: {msg: first}}], rescue: [{name: Really, fail: {msg: second}}]}",
            ],
            "task 'fail' on site1: first; then task 'Really' on site1: second",
        ),
        (
            ["{block: [{fail: {msg: disk}}], always: [{debug: {}}, {name: Clean, command: rmdir /nonexistent/lock}]}"],
            "task 'fail' on site1: disk; then task 'Clean' on site1: command returned 1: "
            "rmdir: failed to remove '/nonexistent/lock': No such file or directory",
        ),
        (
            [
                "{block: [{fail: {msg: rescued}}], rescue: [{debug: {}}]}",
                "{block: [{fail: {msg: disk}}], always: [{debug: {}}, {fail: {msg: lock}}]}",
            ],
            "task 'fail' on site1: disk; then task 'fail' on site1: lock",
        ),
        (
            ["{block: [{fail: {msg: rescued}}], rescue: [{debug: {}}], always: [{fail: {msg: lock}}]}"],
            "task 'fail' on site1: lock",
        ),
        (
            ["{block: [{block: [{fail: {msg: in}}], rescue: [{debug: {}}]}], always: [{fail: {msg: out}}]}"],
            "task 'fail' on site1: out",
        ),
        (
            ["{block: [{include_tasks: broken.yml}], always: [{include_tasks: broken.yml}]}"],
            "task 'Broken' on site1: included; then task 'Broken' on site1: included",
        ),
        (
            ["{name: Loud, shell: 'head -c 1200000 /dev/zero | tr \\0 x; echo; echo broken >&2; exit 3'}"],
            "task 'Loud' on site1: command returned 3: broken",
        ),
    ],
    ids=[
        "message",
        "command",
        "loop",
        "no-log",
        "rescue fails",
        "clean-up fails",
        "rescued before",
        "rescued with clean-up",
        "rescued inside",
        "included",
        "megabyte",
    ],
)
def test_failure_sentence_is_made_from_events(
    supervisor: Supervisor, make_job: MakeJob, results: Results, tmp_path: Path, lines: list[str], details: str
) -> None:
    """A failed task is told by name, host and reason, also when it printed a megabyte.

    Of several failures the first is told that nothing rescued, then what failed while the playbook cleaned up.
    """
    (tmp_path / "broken.yml").write_text("- {name: Broken, fail: {msg: included}}\n")
    supervisor.submit(make_job(tasks(*lines)))
    result = results.wait()

    assert (RunOutcome.FAILED, details) == (result.outcome, result.details)


def test_failure_sentence_is_cut(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """A very long reason is cut to 800 characters and keeps its beginning and its end."""
    supervisor.submit(make_job(tasks("{name: Long, fail: {msg: \"begin {{ 'x' * 5000 }} end\"}}")))
    details = results.wait().details

    assert len(details) <= 800
    assert details.startswith("task 'Long' on site1: begin x")
    assert details.endswith("x end")


def test_ignored_and_rescued_errors_do_not_fail(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """An error that the playbook ignores or rescues does not fail the run."""
    playbook = tasks(
        "{command: /bin/false, ignore_errors: true}",
        "{block: [{command: /bin/false}], rescue: [{debug: {msg: saved}}]}",
    )
    supervisor.submit(make_job(playbook))
    result = results.wait()

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)


def test_unreachable_site_fails(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """A site that cannot be reached fails the run and says that it is unreachable."""
    host_vars = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    supervisor.submit(make_job(tasks("{name: Reach, ping: {}}"), host_vars=host_vars))
    result = results.wait()

    assert RunOutcome.FAILED is result.outcome
    assert result.details.startswith("task 'Reach' on site1: unreachable: ")
    assert "Connection refused" in result.details


@pytest.mark.parametrize(
    ("playbook", "part"),
    [
        ("- hosts: all\n  tasks:\n   - name: [\n", "YAML parsing failed"),
        (tasks("{no_such_module: {}}"), "couldn't resolve module/action 'no_such_module'"),
        ("- hosts: all\n  roles: [no_such_role]\n", "role 'no_such_role' was not found"),
    ],
    ids=["yaml", "module", "role"],
)
def test_broken_playbook_fails_with_ansibles_words(
    supervisor: Supervisor, make_job: MakeJob, results: Results, playbook: str, part: str
) -> None:
    """A playbook that does not even begin fails with Ansible's error and the place of the mistake."""
    supervisor.submit(make_job(playbook))
    result = results.wait()

    assert RunOutcome.FAILED is result.outcome
    assert part in result.details
    assert "playbook-1.yml:" in result.details


def test_missing_ansible_fails(
    make_supervisor: Callable[..., Supervisor], make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """An `ansible-playbook` that is not there, or is no program, fails the run, and its path is named."""
    program = tmp_path / "no such ansible-playbook"
    make_supervisor(ansible=AnsibleInstallation(program=program)).submit(make_job(tasks("{ping: {}}")))
    result = results.wait()

    assert RunOutcome.FAILED is result.outcome
    assert result.details.startswith(f"{program} is not there or cannot be run; PRESTAGER_ANSIBLE names another")


def test_missing_playbook_fails(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """A playbook that is not there fails the run, and its path is named."""
    supervisor.submit(make_job(tasks(), playbook=Path("/nowhere/site.yml")))
    result = results.wait()

    assert RunOutcome.FAILED is result.outcome
    assert "/nowhere/site.yml" in result.details


@pytest.mark.parametrize(
    ("playbook", "details"),
    [
        (tasks("{debug: {}}").replace("all", "elsewhere"), "no play of the playbook is for site1"),
        (tasks("{debug: {}}").replace("all", "localhost"), "no play of the playbook is for site1"),
        ("- hosts: all\n  gather_facts: false\n  tasks: []\n", "no play of the playbook is for site1"),
        (tasks("{command: /bin/false, ignore_errors: true}"), "the playbook did nothing for site1"),
        (tasks("{name: Reach, ping: {}, ignore_unreachable: true, vars: {ansible_connection: ssh}}"), "task 'Reach'"),
        (
            tasks(
                "{name: Reach, ping: {}, ignore_unreachable: true, vars: {ansible_connection: ssh}}",
                "{debug: {}}",
                "{ping: {}, delegate_to: localhost}",
                "{ping: {}, when: false}",
            ),
            "task 'Reach' on site1: unreachable: ",
        ),
        (
            tasks(
                "{name: Reach, ping: {}, ignore_unreachable: true, vars: {ansible_connection: ssh}}",
                "{copy: {src: /nonexistent, dest: /tmp/x}, ignore_errors: true}",
                "{debug: {}}",
            ),
            "task 'Reach' on site1: unreachable: ",
        ),
    ],
    ids=[
        *("other hosts", "localhost", "no task", "errors ignored", "unreachable", "unreachable at first"),
        "failed on the controller afterwards",
    ],
)
def test_playbook_that_did_nothing_fails(
    supervisor: Supervisor, make_job: MakeJob, results: Results, playbook: str, details: str
) -> None:
    """A playbook that did nothing for its host fails, though Ansible calls that a success; so does ignored silence."""
    unreachable = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    supervisor.submit(make_job(playbook, host_vars={**LOCAL_HOST_VARS, **unreachable}))
    result = results.wait()

    assert RunOutcome.FAILED is result.outcome, text(result)
    assert result.details.startswith(details)


@pytest.mark.parametrize(
    "playbook",
    [
        tasks("{command: /bin/false, when: false}"),
        tasks("{ping: {}, delegate_to: localhost}"),
        tasks("{debug: {}}").replace("all", "localhost") + tasks("{debug: {}, when: false}"),
        tasks("{ping: {}, ignore_unreachable: true, vars: {ansible_connection: ssh}}", "{ping: {}}"),
    ],
    ids=["all skipped", "delegated", "second play", "reached later"],
)
def test_playbook_that_did_something_succeeds(
    supervisor: Supervisor, make_job: MakeJob, results: Results, playbook: str
) -> None:
    """One task of the host that was ok, changed or skipped is enough; delegated ones count."""
    unreachable = {"ansible_host": "127.0.0.1", "ansible_port": 1}
    supervisor.submit(make_job(playbook, host_vars={**LOCAL_HOST_VARS, **unreachable}))
    result = results.wait()

    assert (RunOutcome.SUCCEEDED, "") == (result.outcome, result.details)


def test_values_are_taken_literally(
    supervisor: Supervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """Braces and odd characters in variables and secrets are text, never evaluated on our side."""
    odd = "a{{ lookup('pipe', 'touch " + str(tmp_path / "pwned") + "') }}'\"\\ \u2028 € 😀 %s #\t"
    playbook = tasks(
        "{set_stats: {data: {numeric: '{{ numeric }}', type: '{{ numeric | type_debug }}'}}}",
        "{set_stats: {data: {site: '{{ site }}', nested: '{{ nested.list[0] }}', same: '{{ pass_in == site }}'}}}",
    )
    job = make_job(
        playbook,
        host_vars={"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "site": odd},
        extra_vars={"nested": {"list": [odd]}, "pass_in": odd, "numeric": "0123456"},
    )
    supervisor.submit(job)
    result = results.wait()

    assert {"site": odd, "nested": odd, "same": True, "numeric": "0123456", "type": "str"} == result.facts
    assert not (tmp_path / "pwned").exists()


def test_modules_beside_the_playbook_are_found(
    supervisor: Supervisor, make_job: MakeJob, results: Results, tmp_path: Path
) -> None:
    """A playbook finds modules, their shared code, and roles in the folders beside it."""
    for folder in ("library", "module_utils", "roles/mine/tasks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "module_utils" / "answer.py").write_text("VALUE = 42\n")
    (tmp_path / "library" / "site_answer.py").write_text(
        "from ansible.module_utils.basic import AnsibleModule\n"
        "from ansible.module_utils.answer import VALUE\n"
        "AnsibleModule({}).exit_json(value=VALUE)\n"
    )
    (tmp_path / "roles/mine/tasks/main.yml").write_text(
        "- site_answer:\n  register: it\n- set_stats: {data: {answer: '{{ it.value }}'}}\n"
    )
    supervisor.submit(make_job("- hosts: all\n  gather_facts: false\n  roles: [mine]\n"))
    result = results.wait()

    assert (RunOutcome.SUCCEEDED, {"answer": 42}) == (result.outcome, result.facts), result.details


def test_huge_output_is_bounded(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """Of much output the beginning and the end are kept, and a line between tells how much is missing."""
    line = "{debug: {msg: \"{{ 'y' * 300000 }}\"}, loop: '{{ range(18) | list }}'}"
    supervisor.submit(make_job(tasks(line, "{debug: {msg: the end}}")))
    result = results.wait()
    output = text(result)

    assert RunOutcome.SUCCEEDED is result.outcome
    assert len(output) < 4.2 * 1024 * 1024
    assert "bytes of output left out here" in output
    assert "PLAY [all]" in output[:1000]
    assert "PLAY RECAP" in output[-1000:]


def test_oversized_facts_are_dropped_and_told(supervisor: Supervisor, make_job: MakeJob, results: Results) -> None:
    """Facts over the limit do not undo the phase's success; the output says that they are missing."""
    supervisor.submit(make_job(tasks("{set_stats: {data: {big: \"{{ 'z' * 300000 }}\"}}}")))
    result = results.wait()

    assert (RunOutcome.SUCCEEDED, {}) == (result.outcome, result.facts)
    assert "[prestager] set_stats values dropped" in text(result)


def test_left_behind_processes_do_not_cost_the_result(
    supervisor: Supervisor, make_job: MakeJob, results: Results
) -> None:
    """A process that a playbook leaves in the background is ended with the run, and the result stays a success."""
    supervisor.submit(make_job(tasks("{shell: 'setsid sleep 300 >/dev/null 2>&1 &'}", "{set_stats: {data: {ok: 1}}}")))
    result = results.wait()

    assert (RunOutcome.SUCCEEDED, {"ok": 1}) == (result.outcome, result.facts), result.details


def test_wall_clock_jump_ends_no_run(
    supervisor: Supervisor, make_job: MakeJob, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A jump of the wall clock beyond the deadline does not end a run: only the monotonic clock counts."""
    real = time.time
    supervisor.submit(make_job(tasks("{debug: {msg: fine}}"), deadline_s=50))
    monkeypatch.setattr("time.time", lambda: real() + 3600)

    assert RunOutcome.SUCCEEDED is results.wait().outcome
