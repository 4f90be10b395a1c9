"""A service in a process of its own, local sites with playbooks that are done at once, and an operator's shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.journal_playbooks import write_playbooks
from tests.support.operator_shell import OperatorShell
from tests.support.service_process import ServiceProcess

# The last one fails in its packages.
SITES = ("edge-1", "edge-2", "broken")
# Of the release 23.09 it finds something at every site but the last one, where it fails.
_UNSTAGE = """\
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - name: Look at the site
      ansible.builtin.fail:
        msg: The file system is read-only
      when: inventory_hostname == "broken"
    - name: Report what was removed
      ansible.builtin.set_stats:
        per_host: false
        aggregate: false
        data:
          removed_releases: "{{ ['23.09'] if software_version == '23.09' else [] }}"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A running service; its sites are ready."""
    directory = tmp_path_factory.mktemp("service")
    write_playbooks(directory / "playbooks", seconds=0)
    (directory / "journal").mkdir()
    journals = {name: "/proc/nowhere" if name == "broken" else str(directory / "journal") for name in SITES}
    (directory / "playbooks" / "unstage_release.yml").write_text(_UNSTAGE)
    service = ServiceProcess.of_local_sites(directory, {name: {"journal_dir": at} for name, at in journals.items()})
    # Receivers of the tests are on this machine.
    service.environment["PRESTAGER_WEBHOOK_ALLOW_NETWORKS"] = "127.0.0.0/8"
    service.start()
    yield service
    service.end()


@pytest.fixture
def shell(service: ServiceProcess, tmp_path: Path) -> Iterator[OperatorShell]:
    """A shell that knows the service; the strategy that a test leaves is made history."""
    shell = OperatorShell(tmp_path, f"http://127.0.0.1:{service.port}", service.token)
    yield shell
    status, _ = service.get("/v1.0/sw-update-strategy")
    if status == 200:
        assert shell.strategy("delete", "--yes").code == 0
