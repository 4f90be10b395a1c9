"""Commands over HTTP where the service restarts, at a terminal, over TLS, and their cost."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pexpect
import pytest

from tests.support.cpu_time import times_an_empty_program
from tests.support.operator_shell import OperatorShell
from tests.support.server_certificates import make_certificate
from tests.support.service_process import ServiceProcess
from tests.support.tcp_proxy import TcpProxy, free_port
from tests.support.waiting import PATIENCE_S, wait_for

PASSWORD = "Li69nux*"
PRESTAGER = str(Path(sys.executable).with_name("prestager"))
# Wanted: 30 times an empty program. A busy machine may take half as much again.
WANTED = 30
MARGIN = 1.5
DEADLINE_S = PATIENCE_S
# For so long an answer is on its way, in milliseconds.
ANSWER_MS = 5000

Typed = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def typed(shell: OperatorShell) -> Iterator[Typed]:
    """Start `prestager strategy` at a terminal; what still runs at the end is ended."""
    started: list[pexpect.spawn[str]] = []

    def start(*arguments: str, columns: int = 80) -> pexpect.spawn[str]:
        command = ["-m", "cli.main", "strategy", *arguments]
        environment = shell.environment | {"TERM": "xterm"}
        started.append(
            pexpect.spawn(
                sys.executable,
                command,
                env=environment,
                encoding="utf-8",
                timeout=DEADLINE_S,
                dimensions=(24, columns),
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.close(force=True)


def end(process: pexpect.spawn[str]) -> tuple[int | None, str]:
    """Wait for the end of a command; return its exit code and what it printed since the last look."""
    process.expect(pexpect.EOF)
    process.close()
    return process.exitstatus, process.before or ""


def test_a_restart_of_the_service_is_not_seen(shell: OperatorShell, service: ServiceProcess) -> None:
    """A change that meets a stopped service waits for PRESTAGER_CONNECT_S, acts once, and says that it waited."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)
    service.stop()
    shell.environment["PRESTAGER_CONNECT_S"] = "60"
    applied = shell.start("strategy", "apply", "--watch", "-o", "json")
    assert applied.stderr is not None
    assert "Connection refused. Trying again for 60 s." in applied.stderr.readline()
    service.start()

    out, err = applied.communicate(timeout=DEADLINE_S)

    assert applied.returncode == 0, err
    assert '"state": "complete"' in out


def test_a_service_that_does_not_run(shell: OperatorShell) -> None:
    """Where no connection is made, a command soon ends with 6: reads at once, changes after PRESTAGER_CONNECT_S.

    The sentence says that nothing was changed and what to do.
    """
    shell.environment |= {"PRESTAGER_URL": f"http://127.0.0.1:{free_port()}", "PRESTAGER_CONNECT_S": "0"}
    advice = "Does the service run there? Another address is given by --server or PRESTAGER_URL.\n"

    read, changed = shell.strategy("show"), shell.strategy("apply")

    assert (6, 6) == (read.code, changed.code)
    assert read.err.endswith(f"does not answer: Connection refused. {advice}")
    assert changed.err.endswith(f"does not answer: Connection refused. Nothing was changed. {advice}")


def test_a_lost_answer(shell: OperatorShell, service: ServiceProcess) -> None:
    """A change whose answer is lost is sent again, is carried out once, and ends as if nothing had been."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)
    before = applied_count(service)
    with TcpProxy(service.port) as proxy:
        proxy.delay(ANSWER_MS)
        applied = shell.start("strategy", "apply", "--server", f"http://127.0.0.1:{proxy.port}", "-o", "name")
        # It has been carried out, and its answer is in the proxy.
        wait_for(lambda: applied_count(service) > before, DEADLINE_S)
        proxy.reset()
        proxy.pass_on()
        _, err = applied.communicate(timeout=DEADLINE_S)

    assert applied.returncode == 0, err
    assert "Trying again" in err
    assert applied_count(service) == before + 1
    # Only one that has ended can be made history.
    assert shell.strategy("watch").code == 0


def applied_count(service: ServiceProcess) -> int:
    """Return how many commands to apply were carried out or refused."""
    _, found = service.get("/v1.0/audit?type=strategy.apply&limit=1000")
    return len(found["audit"])


def test_a_mistyped_password(typed: Typed, shell: OperatorShell) -> None:
    """The password is asked for twice on a terminal, shown never, and nothing is sent when the two differ."""
    process = typed("create")
    process.expect("Password of the sites: ")
    process.sendline(PASSWORD)
    process.expect("The same again: ")
    process.sendline(PASSWORD + "x")
    code, printed = end(process)

    assert code == 2
    assert "The two passwords differ; nothing was sent." in printed
    assert PASSWORD not in printed
    assert shell.strategy("show").code == 1


def test_questions_at_a_terminal(typed: Typed, shell: OperatorShell) -> None:
    """A password that was typed twice alike is taken; delete asks, and `n` changes nothing."""
    process = typed("create", "--subcloud", "edge-1")
    for question in ("Password of the sites: ", "The same again: "):
        process.expect(question)
        process.sendline(PASSWORD)
    assert end(process)[0] == 0
    process = typed("delete")
    process.expect(r"Delete strategy \d+ \(23.09 on 1 site, initial\)\? Its history is kept. \[y/N\]")
    process.sendline("n")

    assert end(process) == (1, ": n\r\nError: Nothing was changed.\r\n")
    assert shell.strategy("show").code == 0
    process = typed("delete")
    process.expect("y/N")
    process.sendline("y")
    assert end(process)[0] == 0
    assert shell.strategy("show").code == 1


def test_tables_at_a_terminal(typed: Typed, shell: OperatorShell) -> None:
    """Tables fit into a terminal of 80 and of 120 columns, whatever a site says."""
    shell.strategy("create", "--mode", "window", "--max-failures", "1", "--ramp-start", "1", stdin=PASSWORD)
    shell.step("hold", "edge-1", "--reason", "The technician is at the site until tomorrow morning")
    shell.strategy("apply")
    wait_for(lambda: "failed" in shell.step("show", "broken", "-o", "csv").out, DEADLINE_S)
    for columns, command in product((80, 120), ("show", "steps", "history")):
        process = typed(command, columns=columns)
        code, printed = end(process)
        lines = printed.splitlines()
        assert 0 == code, printed
        assert max(map(len, lines)) <= columns, printed
    shell.strategy("cancel", "--yes", "--watch", "--grace", "0")


def test_ctrl_c(typed: Typed, shell: OperatorShell) -> None:
    """Ctrl-C ends a watch with 130 and says what becomes of the strategy, which is as before."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)
    process = typed("watch")
    process.expect("INITIAL")
    process.expect("0/1")
    process.expect("not started 1")
    process.sendintr()
    code, printed = end(process)

    assert code == 130
    assert "waits to be applied. Follow it again: prestager strategy watch" in printed
    assert shell.strategy("show", "-o", "json").json["state"] == "initial"


def test_a_watch_at_a_terminal(typed: Typed, shell: OperatorShell) -> None:
    """A watch at a terminal draws bars of the whole and of the stage in place, names each failure, and ends clean."""
    shell.strategy("create", "--max-parallel", "1", stdin=PASSWORD)
    process = typed("watch")
    process.expect("0/3")
    process.expect("0/1 of stage 1")
    shell.strategy("apply")
    process.expect("broken: failed")
    code, printed = end(process)

    assert code == 3
    assert "3/3" in printed
    last = printed.rpartition("\x1b[J")[2]
    assert re.search(r"^state +failed", last, re.MULTILINE), last
    assert "█" not in last


def test_tls(shell: OperatorShell, tmp_path: Path) -> None:
    """Over TLS the authority is given by `--ca-file`; without it the certificate is refused with that remedy."""
    certificate, key = make_certificate(tmp_path, authority=True)
    service = ServiceProcess(tmp_path, TLS_CERTIFICATE_FILE=certificate, TLS_KEY_FILE=key)
    service.prepare()
    shell = OperatorShell(tmp_path, f"https://127.0.0.1:{service.port}", service.token)
    service.launch()
    try:
        seen = wait_for(lambda: _answered(shell, "--ca-file", str(certificate)), DEADLINE_S, service.tail)
        refused = shell.strategy("history")
    finally:
        service.end()

    assert seen == "[]\n"
    assert refused.code == 2
    assert "is not trusted" in refused.err
    assert "Give --ca-file" in refused.err


def _answered(shell: OperatorShell, *options: str) -> str:
    ended = shell.strategy("history", "-o", "json", *options)
    assert ended.code in {0, 6}, ended.err
    return ended.out


def test_cost(shell: OperatorShell) -> None:
    """A command over HTTP takes at most thirty times the CPU time of an empty Python program."""
    shell.strategy("create", "--subcloud", "edge-1", stdin=PASSWORD)

    times = times_an_empty_program(PRESTAGER, "strategy", "show", environment=shell.environment)

    assert times <= WANTED * MARGIN
