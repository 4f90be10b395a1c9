"""The address of a site that a caller named: judged once more when its run begins."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from messages.site_addresses import is_site_address
from runner.errors import SiteAddressError
from runner.interface import PlaybookJob
from runner.machine_addresses import with_checked_address
from runner.supervisor import Supervisor
from statemachine.states import RunOutcome
from tests.integration.runner.run_watch import Results, text

MakeJob = Callable[..., PlaybookJob]
PLAY = "- {hosts: all, gather_facts: false, tasks: [{command: 'true'}]}\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "169.254.169.254"])
def test_a_host_at_this_machine_is_not_entered(
    supervisor: Supervisor, make_job: MakeJob, results: Results, host: str
) -> None:
    """A run to an address of this machine fails with the reason before Ansible starts, so no password is sent."""
    job = make_job(PLAY, host_vars={"ansible_host": host, "ansible_port": 1})
    supervisor.submit(replace(job, checks_address=True))
    result = results.wait()

    assert RunOutcome.FAILED == result.outcome
    assert f"{host} leads to {host}, but loopback, link-local" in result.details
    assert "TASK" not in text(result)


def test_a_name_of_this_machine() -> None:
    """A name that is right in its form and resolves to this machine is refused."""
    name = socket.gethostname()
    assert is_site_address(name)
    addresses = {one[4][0] for one in socket.getaddrinfo(name, None)}

    with pytest.raises(SiteAddressError, match=f"^{name} leads to ") as refused:
        with_checked_address({"ansible_host": name})

    assert any(f"leads to {address}," in str(refused.value) for address in addresses)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-name.invalid"])
def test_other_hosts_stay(host: str) -> None:
    """An address elsewhere stays as it is, and so does a name that does not resolve: ssh tells of it."""
    assert {"ansible_host": host, "x": 1} == with_checked_address({"ansible_host": host, "x": 1})


def test_a_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was judged is where ssh goes: the name is replaced by its address."""
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer)

    assert {"ansible_host": "192.0.2.7"} == with_checked_address({"ansible_host": "edge.example.com"})
