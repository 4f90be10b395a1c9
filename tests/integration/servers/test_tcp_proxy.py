from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from time import monotonic

import pytest

from tests.support.tcp_proxy import HOST, ProxyMode, TcpProxy, free_port
from tests.support.waiting import PATIENCE_S, wait_for


class Echo(BaseRequestHandler):
    """Sends back what it gets, until the client has said all."""

    def handle(self) -> None:
        while piece := self.request.recv(65536):
            self.request.sendall(piece)


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with ThreadingTCPServer((HOST, 0), Echo) as server:
        server.daemon_threads = True
        # A client may be reset in any test.
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo_port: int) -> Iterator[TcpProxy]:
    with TcpProxy(echo_port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    """A connection that has proved to work."""
    with connect(proxy) as client:
        client.sendall(b"-")
        assert b"-" == client.recv(1)
        yield client


@pytest.fixture
def client_of_silent() -> Iterator[tuple[TcpProxy, socket.socket, socket.socket]]:
    """A proxy with one connection, from both of its ends, to a server that says only what the test says."""
    with (
        socket.create_server((HOST, 0)) as listener,
        TcpProxy(listener.getsockname()[1]) as proxy,
        connect(proxy) as client,
        listener.accept()[0] as server,
    ):
        server.settimeout(PATIENCE_S)
        yield proxy, client, server


def connect(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=PATIENCE_S)


def say_all(client: socket.socket, said: bytes) -> None:
    client.sendall(said)
    client.shutdown(socket.SHUT_WR)


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_all_bytes_pass(proxy: TcpProxy, client: socket.socket) -> None:
    """A proxy that passes changes nothing: all bytes arrive in order, also after one side has said all."""
    said = bytes(range(256)) * 4096
    sender = Thread(target=say_all, args=(client, said))
    sender.start()
    heard = read_all(client)
    sender.join()

    assert said == heard
    counts = proxy.counts()
    assert (len(said) + 1,) * 2 == (counts.to_target_bytes, counts.to_client_bytes)
    wait_for(lambda: proxy.counts().open_count == 0)


def test_swallowed_bytes_travel_on_later(proxy: TcpProxy, client: socket.socket) -> None:
    """Bytes sent while nothing passes are read and held, and arrive when the proxy passes again."""
    proxy.swallow()
    client.sendall(b"held")
    wait_for(lambda: proxy.counts().held_bytes == 4)
    before = proxy.counts().to_target_bytes
    proxy.pass_on()

    assert b"held" == client.recv(4)
    assert (1, 5) == (before, proxy.counts().to_target_bytes)


def test_held_bytes_outlive_their_sender(client_of_silent: tuple[TcpProxy, socket.socket, socket.socket]) -> None:
    """Bytes on their way when their sender breaks off still arrive, also where others were on their way to it."""
    proxy, client, server = client_of_silent
    proxy.swallow()
    server.sendall(b"-")
    wait_for(lambda: proxy.counts().held_bytes == 1)
    client.sendall(b"held")
    wait_for(lambda: proxy.counts().held_bytes == 5)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    proxy.pass_on()

    assert b"held" == server.recv(4)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    wait_for(lambda: proxy.counts().open_count == 0)


def test_a_parted_network_hides_the_end(proxy: TcpProxy, client: socket.socket) -> None:
    """The end of a connection does not pass either, until the network is whole again."""
    proxy.swallow()
    client.shutdown(socket.SHUT_WR)
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    proxy.pass_on()
    client.settimeout(10)

    assert b"" == client.recv(1)


def test_a_parted_network_accepts(proxy: TcpProxy) -> None:
    """A connection that is made while nothing passes is served when the network is whole again."""
    proxy.swallow()
    with connect(proxy) as client:
        client.sendall(b"late")
        wait_for(lambda: proxy.counts().held_bytes == 4)
        proxy.pass_on()

        assert b"late" == client.recv(4)


def test_reset_ends_all_and_refuses_new(proxy: TcpProxy, client: socket.socket) -> None:
    """A reset is seen at once by who is connected and by who connects; afterwards the same port serves again."""
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.pass_on()

    with connect(proxy) as again:
        again.sendall(b"again")
        assert b"again" == again.recv(5)


def test_delay_holds_for_each_direction(proxy: TcpProxy, client: socket.socket) -> None:
    """An answer comes two delays after its question, and nothing overtakes."""
    proxy.delay(100)
    begin = monotonic()
    client.sendall(b"ab")
    answer = client.recv(1) + client.recv(1)

    assert b"ab" == answer
    assert monotonic() - begin >= 0.2


def test_trickle_is_one_byte_a_second(proxy: TcpProxy, client: socket.socket) -> None:
    """A slow network forwards byte by byte; the rest comes at once when it is fast again."""
    proxy.trickle()
    begin = monotonic()
    client.sendall(b"slow")
    wait_for(lambda: proxy.counts().to_target_bytes > 1)
    first_s, forwarded_bytes = monotonic() - begin, proxy.counts().to_target_bytes - 1
    proxy.pass_on()

    assert b"slow" == b"".join(client.recv(1) for _ in range(4))
    assert 1 == forwarded_bytes
    assert first_s >= 0.9


def test_a_target_that_is_down_resets() -> None:
    """Who connects to a proxy of a server that is down is reset, at once or at the first use."""
    with TcpProxy(free_port()) as proxy, pytest.raises(ConnectionResetError), connect(proxy) as client:
        client.recv(1)


def test_a_client_that_breaks_off_is_told_to_the_target(proxy: TcpProxy, client: socket.socket) -> None:
    """A connection that one side breaks is not kept on the other."""
    client.close()

    wait_for(lambda: proxy.counts().open_count == 0)


def test_a_closed_proxy_is_gone(echo_port: int) -> None:
    """After the end nobody listens, and a second end does nothing."""
    with TcpProxy(echo_port) as proxy:
        modes = [proxy.mode]
    proxy.close()
    modes.append(proxy.mode)

    assert [ProxyMode.PASS, ProxyMode.RESET] == modes
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
