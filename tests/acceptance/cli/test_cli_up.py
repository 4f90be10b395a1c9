"""`prestager up` as a process: start, signals, and what keeps it from starting."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.cli.logged_service import LoggedService
from tests.support.imported_sites import import_sites_at
from tests.support.waiting import wait_for

Start = Callable[..., LoggedService]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services in one directory; what still runs at the end is killed."""
    started: list[LoggedService] = []

    def start(name: str = "service", **settings: str) -> LoggedService:
        started.append(LoggedService(tmp_path, name, **settings))
        return started[-1]

    yield start
    for service in started:
        service.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoggedService]:
    """A service that stays, started with a variable that is misspelt."""
    service = LoggedService(tmp_path_factory.mktemp("running"), RELAESE="23.09")
    service.await_event("service.ready")
    yield service
    service.end()


def test_a_signal_ends_the_service(start: Start) -> None:
    """The first SIGTERM or SIGINT ends the service in order, with exit code 0; the next start works."""
    for name, number in (("service", signal.SIGTERM), ("again", signal.SIGINT)):
        service = start(name, PRELOAD="true")
        wait_for(lambda service=service: service.get("/readyz")[0] == 200)
        assert service.get("/readyz")[1]["ready"]

        service.send(number)

        assert 0 == service.wait()
        assert ["service.stopping", "service.stopped"] == [record["event"] for record in service.records[-2:]]


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    """Who does not want to wait asks again after half a second; the exit code says so."""
    service = start()
    port = int(service.await_event("service.ready")["url"].rpartition(":")[2])
    token = service.new_token()
    # A body that never comes holds the orderly end up.
    head = f"POST /v1.0/subclouds HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nContent-Length: 10\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as open_request:
        open_request.sendall(head.encode() + b"{")
        assert 200 == service.get("/livez")[0]
        service.send(signal.SIGTERM)
        service.await_event("service.stopping")

        def ask_again() -> bool:
            service.send(signal.SIGTERM)
            return service.process.poll() is not None

        wait_for(ask_again)

        assert 128 + signal.SIGTERM == service.wait()


def test_a_first_start_says_how_to_make_a_token(start: Start) -> None:
    """Without a token nobody can use the API, and the log says what to do; with one it says nothing."""
    service = start()
    advice = service.await_event("service.no-token")["advice"]
    assert "prestager token create NAME --role admin" in advice

    token = service.command("token", "create", "ops", "--role", "admin").stdout.strip()

    assert (200, {"subclouds": []}) == service.get("/v1.0/subclouds", token)
    assert 401 == service.get("/v1.0/subclouds")[0]
    service.send(signal.SIGTERM)
    service.wait()
    again = start("again")
    again.await_event("service.ready")
    assert [] == [record for record in again.records if record["event"] == "service.no-token"]


def test_commands_work_beside_the_service(running: LoggedService, tmp_path: Path) -> None:
    """An import changes the running service's inventory, and a revoked token ends at once."""
    token = running.new_token()
    sites = tmp_path / "sites"
    sites.write_text("edge-1 10.0.0.1\nedge-2 10.0.0.2\n")

    assert 0 == running.command("subcloud", "import", str(sites)).returncode

    status, answer = running.get("/v1.0/subclouds", token)
    assert (200, ["edge-1", "edge-2"]) == (status, [subcloud["name"] for subcloud in answer["subclouds"]])
    running.command("token", "revoke", "ops")
    assert 401 == running.get("/v1.0/subclouds", token)[0]


def test_a_second_service_on_the_same_data_is_refused(running: LoggedService) -> None:
    """Two services on one data directory would do all work twice."""
    second = running.command("up")

    assert 1 == second.returncode
    assert f"Another Prestager uses {running.environment['PRESTAGER_DATA_DIR']}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_second_service_of_the_same_worker_is_refused(running: LoggedService, start: Start) -> None:
    """Two services with one worker name would end each other's playbooks."""
    second = start("second", WORKER_NAME=running.environment["PRESTAGER_WORKER_NAME"])

    assert 1 == second.wait()
    assert "PRESTAGER_WORKER_NAME" in second.log.read_text()


def test_a_port_in_use_is_refused_before_anything_works(start: Start) -> None:
    """The port is taken first: no run is taken over by a service that nobody can reach.

    The log may be text for people, without colours where there is no terminal.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = start(LOG_FORMAT="text", RELAESE="x", LISTEN=f"127.0.0.1:{taken.getsockname()[1]}")

        assert 1 == service.wait()
    log = service.log.read_text()
    assert "cannot be listened on: " in log
    assert "worker.recovered" not in log
    assert "[warning  ] settings.doubt" in log
    assert "\x1b[" not in log


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"RELEASE": ""}, "PRESTAGER_RELEASE is not set: give the software version of the system controller"),
        ({"LISTEN": "8119"}, "PRESTAGER_LISTEN must be ADDRESS:PORT"),
        ({"PLAYBOOKS_DIR": "/nowhere"}, "PRESTAGER_PLAYBOOKS_DIR /nowhere is not a directory."),
    ],
)
def test_wrong_settings(start: Start, settings: dict[str, str], sentence: str) -> None:
    """What is wrong with the settings is told before anything is made."""
    service = start(**settings)

    assert 1 == service.wait()
    assert sentence in service.log.read_text()
    assert "Traceback" not in service.log.read_text()


def test_misspelt_settings_are_told(running: LoggedService) -> None:
    """A variable without any effect does not keep the service from starting, but it is told."""
    doubts = [record["doubt"] for record in running.records if record["event"] == "settings.doubt"]
    assert "PRESTAGER_RELAESE is not a setting; did you mean PRESTAGER_RELEASE?" in doubts


def test_the_probe_is_part_of_the_service(start: Start) -> None:
    """With the probe on, a site that answers becomes online."""
    service = start(PROBE="true", PROBE_INTERVAL_S="0.5")
    service.await_event("service.ready")
    with socket.create_server(("127.0.0.1", 0)) as site:
        place = {"ansible_host": "127.0.0.1", "ansible_port": site.getsockname()[1]}
        import_sites_at(service.database_url, {"edge-1": {"prestager_software_version": "22.12", **place}})

        assert "edge-1" == service.await_event("subcloud.online")["subcloud"]
    service.send(signal.SIGTERM)
    assert 0 == service.wait()


def test_the_installed_command() -> None:
    """The command of the environment is the program that is tested here."""
    assert Path(sys.executable).with_name("prestager").exists()
