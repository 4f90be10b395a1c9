"""A TCP proxy on loopback that misbehaves on demand: what stands between a client and a server that a test examines.

Bytes are held up, never dropped: while nothing may pass they wait (as they do in the buffers of a real network that is
parted), and travel on when the proxy passes again. It runs in a thread of its own and blocks no event loop.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

HOST = "127.0.0.1"
_SWITCH_DEADLINE_S = 10.0
_PIECE_BYTES = 65536
# Pieces that one direction holds at most; then the sender is held up, as by a full buffer of the kernel.
_HELD_PIECES = 1024
_TRICKLE_S = 1.0
# What closing a connection does: until both its streams have ended in order, it is a reset.
_RESETS, _ENDS_IN_ORDER = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
_LOWEST_PORT = 15000
_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")

T = TypeVar("T")


def free_port() -> int:
    """Return a free port of loopback below those that the kernel gives to clients.

    A server that is down would else lose its port: to any client, or to its own, which connects to itself when source
    and destination happen to be equal.
    """
    end = int(_EPHEMERAL_PORTS.read_text(encoding="ascii").split()[0]) if _EPHEMERAL_PORTS.exists() else 32768
    choices = random.SystemRandom()
    for _ in range(end - _LOWEST_PORT):
        port = choices.randrange(_LOWEST_PORT, end)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise OSError("No port is free.")


class ProxyMode(Enum):
    """What the proxy does with bytes and connections."""

    # Forwards at once.
    PASS = auto()
    # Accepts and reads, but forwards nothing, not even the end of a connection.
    SWALLOW = auto()
    # Has reset all connections and refuses new ones.
    RESET = auto()
    # Forwards each piece a fixed time after it came.
    DELAY = auto()
    # Forwards one byte per second and direction.
    TRICKLE = auto()


@dataclass(frozen=True, kw_only=True)
class ProxyCounts:
    """What a proxy has seen since its start."""

    accepted_count: int  # connections that clients made
    open_count: int  # connections that live now
    to_target_bytes: int  # forwarded from clients
    to_client_bytes: int  # forwarded from the target
    held_bytes: int  # read from either side of a living connection, not forwarded yet


class _Way:
    """One direction of one connection: pieces in order, each with the time it was read.

    An empty piece is the end of the stream, None a broken one.
    """

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(_HELD_PIECES)
        self.held_bytes = 0


class TcpProxy:
    """A proxy from a port of its own to `target_port`, both on loopback.

    Attributes:
        port: Where clients connect; the same for life, below the ephemeral ports.

    A target that refuses shows as a connection that is accepted and then reset. A switch of the mode is done when its
    method returns and holds for living connections too. Methods may be called from any thread.
    """

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._mode = ProxyMode.RESET
        self._delay_s = 0.0
        self._accepted_count = 0
        # Direction (0: to the target, 1: to the client) → bytes forwarded.
        self._forwarded_bytes = [0, 0]
        self._connections: dict[asyncio.Task[None], tuple[_Way, _Way]] = {}
        self._listener: socket.socket | None = None
        self._switched = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"tcp-proxy-{self.port}", daemon=True)
        self._thread.start()
        self.pass_on()

    def __enter__(self) -> Self:
        """Return the proxy, which passes."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def mode(self) -> ProxyMode:
        """What the proxy does now."""
        return self._mode

    def lead_to(self, target_port: int) -> None:
        """Connect those who come from now on to another server, as an address does that moves."""
        self._target_port = target_port

    def pass_on(self) -> None:
        """Forward at once, beginning with what was held."""
        self._wait(self._switch(ProxyMode.PASS))

    def swallow(self) -> None:
        """Accept and read, but forward nothing in either direction: a network that is parted."""
        self._wait(self._switch(ProxyMode.SWALLOW))

    def reset(self) -> None:
        """Reset all connections, whose held bytes are lost, and refuse new ones."""
        self._wait(self._switch(ProxyMode.RESET))

    def delay(self, delay_ms: float) -> None:
        """Forward each piece `delay_ms` milliseconds after it came, in each direction."""
        self._wait(self._switch(ProxyMode.DELAY, delay_ms / 1000))

    def trickle(self) -> None:
        """Forward one byte per second in each direction of each connection."""
        self._wait(self._switch(ProxyMode.TRICKLE))

    def counts(self) -> ProxyCounts:
        """Return what has happened so far."""
        return self._wait(self._count())

    def close(self) -> None:
        """Reset all connections and end the thread; a second call does nothing."""
        if self._loop.is_closed():
            return
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SWITCH_DEADLINE_S)
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SWITCH_DEADLINE_S)

    async def _count(self) -> ProxyCounts:
        return ProxyCounts(
            accepted_count=self._accepted_count,
            open_count=len(self._connections),
            to_target_bytes=self._forwarded_bytes[0],
            to_client_bytes=self._forwarded_bytes[1],
            held_bytes=sum(way.held_bytes for ways in self._connections.values() for way in ways),
        )

    async def _switch(self, mode: ProxyMode, delay_s: float = 0.0) -> None:
        self._mode, self._delay_s = mode, delay_s
        self._switched.set()
        self._switched = asyncio.Event()
        if mode is ProxyMode.RESET:
            await self._refuse()
        elif self._listener is None:
            self._listener = socket.create_server((HOST, self.port), backlog=1024)
            self._listener.setblocking(False)
            # Not loop.sock_accept, which loses a connection that comes while it is cancelled.
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        ended = list(self._connections)
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # The client has given up already.
        self._accepted_count += 1
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        ways = (_Way(), _Way())
        task = self._loop.create_task(self._serve(client, *ways))
        self._connections[task] = ways
        # Not by the task: one that is cancelled before its first step does nothing at all.
        task.add_done_callback(lambda _: client.close())
        task.add_done_callback(self._connections.pop)

    async def _serve(self, client: socket.socket, to_target: _Way, to_client: _Way) -> None:
        target = socket.socket()
        try:
            target.setblocking(False)
            target.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
            for end in (client, target):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(client, to_target))
                while self._mode is ProxyMode.SWALLOW:
                    await self._switched.wait()
                await self._loop.sock_connect(target, (HOST, self._target_port))
                group.create_task(self._read(target, to_client))
                group.create_task(self._forward(to_target, target, 0))
                group.create_task(self._forward(to_client, client, 1))
            for end in (client, target):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ENDS_IN_ORDER)
        except* OSError:
            pass  # Either side broke, or the target refused: the other side sees a reset.
        finally:
            target.close()

    async def _read(self, source: socket.socket, way: _Way) -> None:
        piece: bytes | None = b"-"
        while piece:
            try:
                piece = await self._loop.sock_recv(source, _PIECE_BYTES)
            except OSError:
                piece = None
            way.held_bytes += len(piece or b"")
            await way.pieces.put((self._loop.time(), piece))

    async def _forward(self, way: _Way, sink: socket.socket, direction: int) -> None:
        while True:
            read_at, piece = await way.pieces.get()
            if not piece:
                await self._passable_bytes(read_at, 1)
                if piece is None:
                    raise ConnectionResetError
                sink.shutdown(socket.SHUT_WR)
                return
            while piece:
                size_bytes = await self._passable_bytes(read_at, len(piece))
                await self._loop.sock_sendall(sink, piece[:size_bytes])
                piece = piece[size_bytes:]
                way.held_bytes -= size_bytes
                self._forwarded_bytes[direction] += size_bytes

    async def _passable_bytes(self, read_at: float, size_bytes: int) -> int:
        """Wait until a part of a piece of `size_bytes`, read at `read_at`, may pass; return how much of it."""
        while True:
            switched, wait_s = self._switched, None
            match self._mode:
                case ProxyMode.PASS:
                    return size_bytes
                case ProxyMode.DELAY:
                    wait_s = read_at + self._delay_s - self._loop.time()
                    if wait_s <= 0:
                        return size_bytes
                case ProxyMode.TRICKLE:
                    wait_s = _TRICKLE_S
                case ProxyMode.SWALLOW | ProxyMode.RESET:
                    pass
            try:
                # Not wait_for, which before Python 3.12 forgets that it was cancelled if the event came as well.
                async with asyncio.timeout(wait_s):
                    await switched.wait()
            except TimeoutError:
                if self._mode is ProxyMode.TRICKLE:
                    return 1
