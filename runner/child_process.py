"""The supervisor's side of one child process: start it, talk to it, see it end. Everything runs in the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, cast

from runner.ansible_installation import AnsibleInstallation
from runner.failure_text import FAILURES_VARIABLE
from runner.preload.preloaded_ansible import PreloadedAnsible
from runner.private_dir import PrivateDir, child_id, private_dir
from runner.process_limits import yield_cores
from runner.processes import MARKER, RUN_OPTION, end_processes, marked, marker_value
from runner.protocol import LINE_LIMIT_BYTES, Order, Ping, Report, decode_report, encode

# Where `python -m` finds the runner package, without a PYTHONPATH that Ansible would inherit.
_IMPORT_ROOT = Path(__file__).resolve().parent.parent

_STDERR_KEPT_BYTES = 2048

# Names the file by which a playbook says that it must not be cancelled now.
CRITICAL_SECTION_VARIABLE: Final = "PRESTAGER_CRITICAL_SECTION"


class ChildProcess:
    """One child and its private directory.

    Attributes:
        exit_code: None while it lives; negative for a signal.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        worker: str,
        run_root: Path,
        silence_limit_s: float,
        process_memory_bytes: int,
        ansible: AnsibleInstallation,
        preloaded: PreloadedAnsible | None = None,
    ) -> None:
        self.exit_code: int | None = None
        self._worker = worker
        self._child_id = child_id()
        self._place: PrivateDir = private_dir(run_root, worker, self._child_id)
        self._silence_limit_s = silence_limit_s
        self._process_memory_bytes = process_memory_bytes
        self._ansible = ansible
        self._exited = asyncio.Event()
        self._reports = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
        self._stderr = _LastBytes()
        self._transports: list[asyncio.ReadTransport] = []
        self._orders: asyncio.WriteTransport | None = None
        self._kill: Callable[[], None] = lambda: None
        self._preloaded = preloaded

    @classmethod
    async def spawn(  # noqa: PLR0913
        cls,
        *,
        worker: str,
        run_root: Path,
        silence_limit_s: float,
        process_memory_bytes: int,
        ansible: AnsibleInstallation,
        preloaded: PreloadedAnsible | None = None,
    ) -> ChildProcess:
        """Start a child.

        Args:
            worker: name of the worker installation.

            run_root: where the child's private directory is made.

            silence_limit_s: seconds without a sign of life after which the child stops its tree.

            process_memory_bytes: the memory that each process of its run may have; the child itself has twice that.

            ansible: what runs the playbook.

            preloaded: forks the child, if it can; None: the child is started in the plain way.

        Raises:
            OSError: No room for its directory, no memory, too many processes or descriptors. Nothing is left behind.
        """
        child = cls(
            worker=worker,
            run_root=run_root,
            silence_limit_s=silence_limit_s,
            process_memory_bytes=process_memory_bytes,
            ansible=ansible,
            preloaded=preloaded,
        )
        try:
            child._place.create()
            await child._start()
        except BaseException:
            await child.dispose()
            raise
        return child

    @property
    def last_words(self) -> str:
        """The last line that the child wrote to its standard error, if it is not too long; may hold secrets."""
        lines = self._stderr.whole_lines.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def is_in_critical_section(self) -> bool:
        """Whether the playbook has said that it must not be cancelled now."""
        return self._place.critical_section_file.exists()

    def say(self, order: Order) -> None:
        """Send `order`; does nothing when the child is gone. Never waits."""
        if self._orders is not None and not self._orders.is_closing():
            self._orders.write(encode(order))

    def ping(self) -> None:
        """Send a sign of life, unless earlier ones are still unread."""
        if self._orders is not None and self._orders.get_write_buffer_size() == 0:
            self.say(Ping())

    async def reports(self) -> AsyncIterator[Report]:
        """Yield the child's reports until its output ends; a line that is no report ends it as well."""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            while line := await self._reports.readline():
                yield decode_report(line)

    async def dispose(self, *, wait_s: float = 0.0) -> None:
        """Make sure that no process and no file of the child is left, waiting `wait_s` seconds for it to end by itself.

        Raises:
            ProcessesLeftError: Something cannot be killed.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._exited.wait(), wait_s)
        clean = self.exit_code == 0
        if not clean:
            # A process that is not dumpable may be hidden in procfs (hidepid), but not from its parent.
            self.kill()
            await asyncio.to_thread(end_processes, lambda: marked(self._worker, self._child_id), grace_s=0.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exited.wait(), 1.0)
        for transport in self._transports:
            transport.close()
        self.close_orders()
        if self._place.path.exists():
            await asyncio.to_thread(self._place.remove)

    def kill(self) -> None:
        """Kill the child itself; `dispose` then ends what it leaves."""
        if self.exit_code is None:
            self._kill()

    def close_orders(self) -> None:
        """Tell the child to end: without a supervisor it stops its tree and leaves."""
        if self._orders is not None and not self._orders.is_closing():
            # Not close: that would wait until the child has read the rest.
            self._orders.abort()

    async def _start(self) -> None:
        orders_read, orders = os.pipe()
        reports, reports_write = os.pipe()
        words, words_write = os.pipe()
        theirs = (orders_read, reports_write, words_write)
        environment = child_environment(
            worker=self._worker, child_id=self._child_id, place=self._place, ansible=self._ansible
        )
        try:
            if not await self._fork(theirs, environment):
                self._execute(theirs, environment)
        except BaseException:
            for descriptor in (orders, reports, words):
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        loop = asyncio.get_running_loop()
        reading = asyncio.StreamReaderProtocol(self._reports)
        await self._read(loop, lambda: reading, os.fdopen(reports, "rb", 0))
        await self._read(loop, lambda: self._stderr, os.fdopen(words, "rb", 0))
        transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(orders, "wb", 0))
        self._orders = transport

    async def _fork(self, pipes: Sequence[int], environment: Mapping[str, str]) -> bool:
        """Have the child forked from a process that has loaded Ansible; return whether it was."""
        if self._preloaded is None:
            return False
        forked = await self._preloaded.fork(
            marker=marker_value(self._worker, self._child_id),
            arguments=self._options(),
            environment=environment,
            pipes=pipes,
        )
        if forked is None:
            return False
        self._kill = forked.kill
        forked.exited.add_done_callback(lambda done: self._has_exited(done.result()))
        return True

    def _execute(self, pipes: Sequence[int], environment: Mapping[str, str]) -> None:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "runner.child", *self._options()],
            stdin=pipes[0],
            stdout=pipes[1],
            stderr=pipes[2],
            bufsize=0,
            cwd=_IMPORT_ROOT,
            env=environment,
            start_new_session=True,
        )
        yield_cores(process.pid, self._ansible.niceness)
        self._kill = process.kill
        self._watch_exit(process)

    def _has_exited(self, code: int) -> None:
        self.exit_code = code
        self._exited.set()

    def _options(self) -> list[str]:
        return [
            *("--private-dir", str(self._place.path)),
            *("--silence-limit-s", str(self._silence_limit_s)),
            *(RUN_OPTION, marker_value(self._worker, self._child_id)),
            *("--process-memory-bytes", str(self._process_memory_bytes)),
            *("--ansible-playbook", str(self._ansible.program)),
        ]

    async def _read(
        self, loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.BaseProtocol], pipe: IO[bytes] | None
    ) -> None:
        transport, _ = await loop.connect_read_pipe(protocol, cast(IO[bytes], pipe))
        self._transports.append(transport)

    def _watch_exit(self, process: subprocess.Popen[bytes]) -> None:
        descriptor = os.pidfd_open(process.pid)
        loop = asyncio.get_running_loop()

        def exited() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._has_exited(process.wait())

        loop.add_reader(descriptor, exited)


class _LastBytes(asyncio.Protocol):
    """Keeps the end of a stream."""

    def __init__(self) -> None:
        self._data = b""
        self._is_cut = False

    @property
    def whole_lines(self) -> bytes:
        """The kept lines but one that lost its beginning: half a secret in it could not be masked."""
        return self._data.partition(b"\n")[2] if self._is_cut else self._data

    def data_received(self, data: bytes) -> None:
        """Take a piece in."""
        whole = self._data + data
        self._data = whole[-_STDERR_KEPT_BYTES:]
        self._is_cut = self._is_cut or len(whole) > _STDERR_KEPT_BYTES


def child_environment(*, worker: str, child_id: str, place: PrivateDir, ansible: AnsibleInstallation) -> dict[str, str]:
    """Return the whole environment of one child, and so of its playbook and local tasks; ansible-runner adds to it."""
    return {
        **ansible.environment(place.tmp),
        FAILURES_VARIABLE: str(place.failures_file),
        CRITICAL_SECTION_VARIABLE: str(place.critical_section_file),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place.control),
        MARKER: marker_value(worker, child_id),
    }


def describe_exit(code: int | None) -> str:
    """Return words for an exit code as subprocess gives it."""
    if code is None:
        return "it does not end"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
