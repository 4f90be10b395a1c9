"""The supervisor's side of a template process: start it, have it fork children, see those end. In the event loop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from runner.errors import TemplateError
from runner.preload.template import DISMISSAL, REQUEST_LIMIT_BYTES
from runner.process_limits import yield_cores

_IMPORT_ROOT: Final = Path(__file__).resolve().parents[2]
# Longest time that loading Ansible may take on a busy machine, in seconds.
_LOAD_S: Final = 30.0
# Longest wait for one fork, in seconds; it takes a hundredth of a second, and a plain start one second.
_FORK_S: Final = 10.0
# Longest wait for the exit code of a process that has ended, in seconds.
_CODE_S: Final = 2.0
# Longest time in which it ends by itself, in seconds.
_END_S: Final = 2.0
# Exit code of a child whose template ended before it.
UNKNOWN_CODE: Final = 255


class ForkedProcess:
    """A process that a template has forked.

    Attributes:
        pid: Its number.

        exited: Gets its exit code, negative for a signal; 255 when it is not known.
    """

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._descriptor = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._has_ended)

    def kill(self) -> None:
        """Kill it; does nothing when it has ended."""
        with suppress(ProcessLookupError):
            if self._descriptor >= 0:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def settle(self, code: int) -> None:
        """Take its exit code."""
        if not self.exited.done():
            self.exited.set_result(code)

    def _has_ended(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1
        # The code comes from the template, if that lives.
        loop.call_later(_CODE_S, self.settle, UNKNOWN_CODE)


class Template:
    """One template process. It ends when `close` is called and each of its children has ended."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        niceness: int = 0,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.forks = 0
        self._on_end = on_end
        self._arguments = arguments
        self._environment = environment
        self._niceness = niceness
        self._children: dict[int, ForkedProcess] = {}
        self._waiting: deque[asyncio.Future[ForkedProcess]] = deque()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Files and directories outside of Ansible that it has loaded plug-ins from, or would have.
        self.watched: tuple[Path, ...] = ()
        self._is_gone = False
        self._is_closing = False
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Start the process and wait until it has loaded Ansible.

        Raises:
            TemplateError: It did not load.
        """
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        try:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603
                [
                    *(sys.executable, "-m", "runner.preload.template"),
                    *("--control", str(theirs.fileno())),
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=_IMPORT_ROOT,
                env=dict(self._environment),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            self._control.close()
            raise TemplateError(str(error)) from error
        finally:
            theirs.close()
        asyncio.get_running_loop().add_reader(self._control, self._read)
        self._watch_end(self._process)
        yield_cores(self._process.pid, self._niceness)
        try:
            async with asyncio.timeout(_LOAD_S):
                await self._ready
        except (TimeoutError, asyncio.CancelledError) as error:
            self.kill()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise TemplateError(f"Ansible did not load within {_LOAD_S:g} s") from error

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._ended.is_set()

    async def end(self) -> None:
        """Have it end now, and wait for it; its children go on."""
        self._lose("it was stopped")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _END_S)
        self._process.kill()
        await self._ended.wait()

    @property
    def is_usable(self) -> bool:
        """Whether it still forks."""
        return not self._is_gone and not self._is_closing

    async def fork(
        self, *, marker: str, arguments: Sequence[str], environment: Mapping[str, str], pipes: Sequence[int]
    ) -> ForkedProcess:
        """Fork a child that reads and writes `pipes` as standard input, output and error.

        Raises:
            TemplateError: It cannot.
        """
        request = {"marker": marker, "arguments": list(arguments), "environment": dict(environment)}
        data = json.dumps(request).encode()
        if not self.is_usable or len(data) > REQUEST_LIMIT_BYTES:
            raise TemplateError("the template process has ended")
        answer: asyncio.Future[ForkedProcess] = asyncio.get_running_loop().create_future()
        try:
            socket.send_fds(self._control, [data], pipes)
        except OSError as error:
            raise TemplateError(str(error)) from error
        self._waiting.append(answer)
        self.forks += 1
        try:
            async with asyncio.timeout(_FORK_S):
                return await answer
        except TimeoutError as error:
            # Frozen, or stuck: its children do not need it.
            self.kill()
            raise TemplateError(f"the template process did not answer within {_FORK_S:g} s") from error

    def close(self) -> None:
        """Have it end once its children have; repeating it does nothing."""
        self._is_closing = True
        self._end_if_done()

    def kill(self) -> None:
        """End it at once; its children go on."""
        self._process.kill()
        self._lose("it was stopped")

    def _end_if_done(self) -> None:
        if self._is_closing and not self._children and not self._waiting and not self._is_gone:
            self._lose("it was stopped")

    def _read(self) -> None:
        while not self._is_gone:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._control, REQUEST_LIMIT_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._lose(self._last_words())
                return
            self._take(json.loads(data), descriptors)

    def _take(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        if "ready" in message and not self._ready.done():
            self.watched = tuple(map(Path, message["watched"]))
            self._ready.set_result(None)
        elif "forked" in message:
            child = ForkedProcess(message["forked"], descriptors[0])
            self._children[child.pid] = child
            answer = self._waiting.popleft()
            if answer.cancelled():
                child.kill()
            else:
                answer.set_result(child)
        elif "error" in message:
            answer = self._waiting.popleft()
            if not answer.cancelled():
                answer.set_exception(TemplateError(message["error"]))
        elif "ended" in message:
            self._children.pop(message["ended"]).settle(message["code"])
            self._end_if_done()

    def _lose(self, reason: str) -> None:
        if self._is_gone:
            return
        self._is_gone = True
        asyncio.get_running_loop().remove_reader(self._control)
        with suppress(OSError):
            self._control.send(DISMISSAL)
        self._control.close()
        error = TemplateError(f"the template process ended: {reason}")
        if not self._ready.done():
            self._ready.set_exception(error)
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(error)
        self._waiting.clear()
        # Their ends are seen by their descriptors; the codes are lost.
        self._children.clear()

    def _watch_end(self, process: subprocess.Popen[bytes]) -> None:
        descriptor = os.pidfd_open(process.pid)
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            process.wait()
            self._ended.set()
            self._lose(self._last_words())
            if process.stderr is not None:
                process.stderr.close()
            self._on_end()

        loop.add_reader(descriptor, ended)

    def _last_words(self) -> str:
        words = self._process.stderr
        with suppress(OSError, ValueError):
            if words is not None:
                os.set_blocking(words.fileno(), False)
                lines = (words.read() or b"").decode("utf-8", "replace").strip().splitlines()
                return lines[-1] if lines else "without a word"
        return "without a word"
