"""A service as strangers meet it: floods of connections, probes without end, and TLS."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from threading import Event
from time import monotonic

import psutil
import pytest

from tests.acceptance.cli.logged_service import LoggedService
from tests.support.rabbitmq_server import RabbitmqServer
from tests.support.server_certificates import make_certificate
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import BUSY_FACTOR, PATIENCE_S, wait_for

HOST = "127.0.0.1"
DESCRIPTORS = 400
STRANGERS = 40


@pytest.fixture
def started() -> Iterator[list[LoggedService]]:
    """Services, to be ended at the end."""
    services: list[LoggedService] = []
    yield services
    for service in services:
        service.end()


def port_of(service: LoggedService) -> int:
    """Return the port of the API."""
    return int(service.await_event("service.ready")["url"].rpartition(":")[2])


def get(port: int, path: str, token: str = "", source: str = HOST) -> tuple[int, float]:
    """Return the status of a GET from an address and how long it took, in seconds."""
    began = monotonic()
    connection = HTTPConnection(HOST, port, timeout=PATIENCE_S, source_address=(source, 0))
    try:
        connection.request("GET", path, headers={"X-Auth-Token": token} if token else {})
        status = connection.getresponse().status
    finally:
        connection.close()
    return status, monotonic() - began


@pytest.mark.parametrize("bound", ["", "1000000"])
def test_more_connections_than_descriptors(tmp_path: Path, started: list[LoggedService], bound: str) -> None:
    """Strangers with more connections than there are descriptors take none from the service, nor from other callers."""
    launcher = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    settings = {"MAX_CONNECTIONS": bound} if bound else {}
    service = LoggedService(tmp_path, launcher=launcher, **settings)
    started.append(service)
    port, token = port_of(service), service.new_token()
    process = psutil.Process(service.process.pid)
    strangers = [socket.create_connection((HOST, port)) for _ in range(DESCRIPTORS + 100)]
    for one in strangers:
        one.send(b"GET /livez HTTP/1.1\r\nX: ")
    refused = service.await_event("connections.refused")
    answers = [get(port, "/v1.0/subclouds", token, f"127.0.0.{number}")[0] for number in range(2, 12)]
    used = process.num_fds()
    for one in strangers:
        one.close()

    assert "one address" == refused["too_many_of"]
    assert [200] * 10 == answers
    assert used < DESCRIPTORS - 50
    events = {record["event"] for record in service.records}
    assert "connections.no-descriptor" not in events
    assert ("connections.bounded" in events) == bool(bound)
    assert "Traceback" not in service.log.read_text()


def test_probes_while_the_broker_is_silent(
    tmp_path: Path, started: list[LoggedService], rabbitmq: RabbitmqServer
) -> None:
    """However many ask whether it is ready while the broker says nothing, callers get their answers."""
    with TcpProxy(rabbitmq.port) as proxy:
        url = f"amqp://{rabbitmq.user}:{rabbitmq.password}@{HOST}:{proxy.port}/"
        with socket.create_server((HOST, 0)) as free:
            monitor = free.getsockname()[1]
        service = LoggedService(tmp_path, BROKER_URL=url, MONITOR_LISTEN=f"{HOST}:{monitor}")
        started.append(service)
        port, token = port_of(service), service.new_token()
        wait_for(lambda: get(port, "/readyz")[0] == 200)
        proxy.swallow()
        is_over = Event()

        def probe(place: int) -> set[int]:
            found = set()
            while not is_over.is_set():
                found.add(get((port, monitor)[place % 2], "/readyz")[0])
            return found

        with ThreadPoolExecutor(STRANGERS) as threads:
            probing = [threads.submit(probe, place) for place in range(STRANGERS)]
            try:
                wait_for(lambda: get(port, "/readyz")[0] == 503)
                reads = [get(port, "/v1.0/subclouds", token) for _ in range(10)]
            finally:
                is_over.set()
            probed = set.union(*(one.result() for one in probing))
        threads_of_it = psutil.Process(service.process.pid).num_threads()

    assert {200} == {status for status, _ in reads}
    assert max(took_s for _, took_s in reads) < 3 * BUSY_FACTOR, reads
    assert probed <= {200, 503}
    assert threads_of_it < 60
    # The library that speaks with the broker tells of its broken connection in its own way.
    broken = [record for record in service.records if "exception" in record and "Traceback" in record["exception"]]
    assert [] == [one for one in broken if one["logger"].startswith(("api", "cli"))]


def test_the_monitoring_listener_is_bounded(tmp_path: Path, started: list[LoggedService]) -> None:
    """Strangers at the listener for monitoring hold few connections for a short time, and leave no traceback."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    service = LoggedService(tmp_path, MONITOR_LISTEN=f"{HOST}:{port}")
    started.append(service)
    service.await_event("service.ready")
    strangers = [socket.create_connection((HOST, port)) for _ in range(100)]
    for one in strangers:
        one.send(b"GET /livez HTTP/1.1\r\nX: ")
    assert "one address" == service.await_event("connections.refused")["too_many_of"]
    assert 200 == get(port, "/metrics", source="127.0.0.2")[0]
    # Those that are not refused are let go.
    wait_for(lambda: all(_is_over(one) for one in strangers))
    with socket.create_connection((HOST, port)) as bad:
        bad.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\n")
        assert bad.recv(1000).startswith(b"HTTP/1.1 200")
        bad.sendall(b"no gzip!")
        wait_for(lambda: "Body of a request cannot be decoded" in service.log.read_text())
    for one in strangers:
        one.close()

    assert "Traceback" not in service.log.read_text()


def _is_over(connection: socket.socket) -> bool:
    """Return whether the other side has ended a connection; what it said before is read."""
    connection.setblocking(False)
    try:
        while connection.recv(1000):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_by_tls(tmp_path: Path, started: list[LoggedService]) -> None:
    """With a certificate the API speaks TLS alone, and takes a new certificate while it runs."""
    files = make_certificate(tmp_path)
    service = LoggedService(tmp_path, TLS_CERTIFICATE_FILE=str(files[0]), TLS_KEY_FILE=str(files[1]))
    started.append(service)
    url = service.await_event("service.ready")["url"]
    port = int(url.rpartition(":")[2])
    versions, version = _get_by_tls(port, files[0])
    with pytest.raises((OSError, HTTPException)):
        get(port, "/livez")
    for fresh, file in zip(make_certificate(tmp_path, "fresh"), files, strict=True):
        fresh.replace(file)
    service.await_event("tls.reloaded")

    assert url.startswith("https://")
    assert f"https://{HOST}:{port}/v1.0/" == versions["versions"][0]["links"][0]["href"]
    assert version in {"TLSv1.2", "TLSv1.3"}
    assert versions == _get_by_tls(port, files[0])[0]
    assert "Traceback" not in service.log.read_text()


def _get_by_tls(port: int, trusted: Path) -> tuple[dict[str, list[dict[str, list[dict[str, str]]]]], str]:
    connection = HTTPSConnection(HOST, port, timeout=PATIENCE_S, context=ssl.create_default_context(cafile=trusted))
    try:
        connection.request("GET", "/")
        assert isinstance(connection.sock, ssl.SSLSocket)
        return json.loads(connection.getresponse().read()), str(connection.sock.version())
    finally:
        connection.close()


@pytest.mark.parametrize(
    # Of other addresses tests/unit/cli/test_cli_tls_settings.py asks.
    ("listen", "is_warned"),
    [("[::1]:0", False), ("0.0.0.0:0", True)],
)
def test_in_the_clear_beyond_loopback(
    tmp_path: Path, started: list[LoggedService], listen: str, is_warned: bool
) -> None:
    """A service that others reach without TLS says at its start what crosses the network in the clear."""
    service = LoggedService(tmp_path, LISTEN=listen)
    started.append(service)
    service.await_event("service.ready")
    doubts = [record["doubt"] for record in service.records if record["event"] == "settings.doubt"]

    assert is_warned == any("without TLS tokens and passwords are sent" in doubt for doubt in doubts)


def test_unusable_files_keep_it_from_starting(tmp_path: Path) -> None:
    """With files that are no certificate and key the service does not start, and says so in one sentence."""
    (tmp_path / "none.pem").write_text("none")
    service = LoggedService(
        tmp_path, TLS_CERTIFICATE_FILE=str(tmp_path / "none.pem"), TLS_KEY_FILE=str(tmp_path / "none.pem")
    )

    assert 1 == service.wait()
    assert "are no certificate and key in PEM" in service.log.read_text()
    assert "Traceback" not in service.log.read_text()
