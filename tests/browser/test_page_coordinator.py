"""The dashboard of an installation of several processes, whose coordinator goes away and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.operator_page import OpenPage, operator_page
from tests.support.imported_sites import READY, import_sites_at
from tests.support.installation_processes import InstallationProcesses, new_installation
from tests.support.journal_playbooks import write_playbooks
from tests.support.postgres_server import PostgresServer
from tests.support.rabbitmq_server import RabbitmqServer

STRATEGY = "/v1.0/sw-update-strategy"
# Longer than the test.
PLAYBOOK_S = 600.0


@pytest.fixture
def installation(tmp_path: Path, rabbitmq: RabbitmqServer) -> Iterator[InstallationProcesses]:
    """An API and a worker over real RabbitMQ and real PostgreSQL, with one site; the coordinator is not started."""
    write_playbooks(tmp_path / "playbooks", seconds=PLAYBOOK_S)
    (tmp_path / "journal").mkdir()
    with PostgresServer() as postgres:
        made = new_installation(
            tmp_path,
            DATABASE_URL=postgres.url(postgres.create_database()),
            BROKER_URL=rabbitmq.url,
            PLAYBOOKS_DIR=tmp_path / "playbooks",
            DEPLOY_DIR=tmp_path / "deploy",
            FEED_DIR=tmp_path / "feed",
        )
        variables = {**READY, "ansible_connection": "local", "journal_dir": str(tmp_path / "journal")}
        import_sites_at(made.api.database_url, {"edge-1": variables})
        made.api.start("api")
        made.part("worker", "a")
        yield made
        made.end()


def test_a_coordinator_that_is_restarted(installation: InstallationProcesses, open_page: OpenPage) -> None:
    """Without a coordinator the page stays live, and a command that was given meanwhile is carried out by the next."""
    coordinator = installation.part("coordinator", "one")
    api = installation.api
    for path, body in (("", {"type": "prestage", "sysadmin_password": "cHc="}), ("/actions", {"action": "apply"})):
        status, answer = api.ask("POST", STRATEGY + path, body)
        assert status == 200, answer
    operator = operator_page(open_page, f"http://127.0.0.1:{api.port}", api.token)
    operator.watched.expected += ["503 (Service Unavailable)", "504 (Gateway Timeout)"]
    operator.await_state("Applying")
    coordinator.kill()
    operator.button("Pause…").click()
    operator.dialog.get_by_label("Why").fill("the coordinator is away")
    operator.dialog.get_by_role("button", name="Pause").click()
    operator.await_live()
    expect(operator.dialog).to_be_visible()
    installation.part("coordinator", "two")
    expect(operator.dialog).to_have_count(0)
    operator.await_state("Applying, held")
    expect(operator.page.locator("#banners")).to_contain_text("the coordinator is away")
    operator.await_live()
