"""Runs playbooks for one worker process: the real implementation of the Runner protocol.

One event loop in one thread hosts all runs; each run has a small child process, which calls ansible-runner (no thread
blocks per run). Made by the worker's wiring, fed by step actors. It knows nothing of databases, queues, or strategies.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from runner.ansible_installation import AnsibleInstallation
from runner.capacity import FLOOR_BYTES, available_bytes, process_memory_bytes
from runner.child_pool import REFILL_DELAY_S, ChildPool
from runner.child_process import ChildProcess
from runner.errors import NoFreeSlotError, WorkerNameTakenError
from runner.interface import NullRunWatch, OnFinished, PlaybookJob, RunEnded, RunWatch
from runner.preload.preloaded_ansible import PreloadedAnsible
from runner.private_dir import default_run_root, leftovers, prepare_run_root
from runner.processes import end_processes, marked, marker_value, templates
from runner.run_session import RunSession

_log = logging.getLogger(__name__)

# A child that hears nothing for this long stops its tree, in seconds.
SILENCE_LIMIT_S = 30.0
PING_EVERY_S = 5.0


class _State(Enum):
    NEW = "not started"
    OPEN = "open"
    CLOSING = "stopping"
    CLOSED = "stopped"


class Supervisor:
    """Starts, watches and stops playbook runs.

    All methods may be called from any thread but the callback's. `on_finished` is called from the supervisor's
    thread, exactly once per accepted job, when no process and no file of the run is left; its slot is free by then.

    Args:
        slots: most runs at once.

        worker: name of this worker installation, the same after a restart: `start` ends what its predecessor left.

        on_finished: gets each result; what it raises is logged.

        ansible: what runs the playbooks; default: ours.

        run_root: directory for the private directories of runs; default: one in memory, where there is one.

        stop_grace_s: seconds between TERM and KILL when a run is stopped.

        silence_limit_s: seconds after which a run stops itself when this process is frozen. kill -9 is noticed at once.

        warm: children kept ready; default 1. Each saves about 0.4 s per start, and takes about 25 MB; a forked one 8.

        preload: fork children from a process that has loaded Ansible, which saves nine tenths of a start. Only for the
            Ansible of this program's own environment; another is started anew for each run.

        on_plain_start: called, from the supervisor's thread, for each child that could not be forked and is started in
            the plain way.

        memory_floor_bytes: no further run starts with less available memory, unless nothing runs.

        process_memory: the memory that each process of a run may have, in bytes; default: from the share of a slot.

        available_memory: returns the bytes available now; to be replaced in tests.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        slots: int,
        worker: str,
        on_finished: OnFinished,
        ansible: AnsibleInstallation | None = None,
        run_root: Path | None = None,
        stop_grace_s: float = 5.0,
        silence_limit_s: float = SILENCE_LIMIT_S,
        warm: int = 1,
        preload: bool = True,
        on_plain_start: Callable[[], None] = lambda: None,
        memory_floor_bytes: int = FLOOR_BYTES,
        process_memory: int | None = None,
        available_memory: Callable[[], int] = available_bytes,
    ) -> None:
        marker_value(worker, "")
        self._slots = slots
        self._worker = worker
        self._on_finished = on_finished
        self._ansible = ansible or AnsibleInstallation()
        self._given_root = run_root
        self._stop_grace_s = stop_grace_s
        self._silence_limit_s = silence_limit_s
        self._warm = max(0, min(warm, 2, slots))
        self._preload = preload
        self._on_plain_start = on_plain_start
        self._preloaded: PreloadedAnsible | None = None
        self._memory_floor_bytes = memory_floor_bytes
        self._process_memory = process_memory or process_memory_bytes(slots)
        self._available_memory = available_memory
        self._watch: RunWatch = NullRunWatch()
        self._lock = threading.Lock()
        self._state = _State.NEW
        self._sessions: dict[int, RunSession] = {}
        self._wanted: asyncio.Queue[RunSession | None] = asyncio.Queue()
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)

    @property
    def free_slots(self) -> int:
        """Number of jobs that `submit` still accepts; 0 before `start` and after `stop`."""
        with self._lock:
            return self._free_slots()

    def watch(self, watch: RunWatch) -> None:
        """Pass output and progress of runs submitted from now on to `watch`; its exceptions are logged."""
        self._watch = watch

    def start(self) -> None:
        """End all processes and remove all files that an earlier process of this worker left, then take jobs.

        Raises:
            WorkerNameTakenError: Another living process uses this worker name.

            NoRunRootError: There is no directory for the runs' files.

            OSError: The given directory cannot be used.

            ProcessesLeftError: A left over process cannot be killed.

            RuntimeError: Started before.
        """
        with self._lock:
            if self._state is not _State.NEW:
                raise RuntimeError("a supervisor starts once")
            self._run_root = prepare_run_root(self._given_root) if self._given_root else default_run_root()
            self._name_lock = _claim_name(self._run_root, self._worker)
            self._sweep()
            self._loop = asyncio.new_event_loop()
            self._state = _State.OPEN
        self._thread.start()

    def submit(self, job: PlaybookJob) -> None:
        """Start `job` and return at once.

        Raises:
            NoFreeSlotError: All slots are taken, memory is short, a run with this id is still going on, or the
                supervisor is not open; nothing was started.
        """
        with self._lock:
            self._admit(job)
            session = RunSession(job, stop_grace_s=self._stop_grace_s, watch=self._watch)
            self._sessions[job.run_id] = session
            self._loop.call_soon_threadsafe(self._wanted.put_nowait, session)

    def stop_run(self, run_id: int, reason: str) -> None:
        """Stop the run's whole tree; it ends as LOST with `reason` as its details. Unknown ids are ignored."""
        self._tell_session(run_id, lambda session: session.stop(reason))

    def cancel(self, run_id: int, grace_s: float) -> None:
        """Stop the run's whole tree for an operator; see `Runner.cancel`."""
        self._tell_session(run_id, lambda session: session.cancel(grace_s))

    def _tell_session(self, run_id: int, order: Callable[[RunSession], None]) -> None:
        with self._lock:
            session = self._sessions.get(run_id)
            if session is not None:
                self._loop.call_soon_threadsafe(order, session)

    def stop(self) -> None:
        """Stop all runs, deliver their results, and wait until no process is left. Repeating it does nothing."""
        with self._lock:
            if self._state is _State.NEW:
                self._state = _State.CLOSED
            if self._state is _State.OPEN:
                self._state = _State.CLOSING
                self._loop.call_soon_threadsafe(self._wanted.put_nowait, None)
        if self._thread.ident is not None:
            self._thread.join()

    def _free_slots(self) -> int:
        return max(0, self._slots - len(self._sessions)) if self._state is _State.OPEN else 0

    def _admit(self, job: PlaybookJob) -> None:
        if self._state is not _State.OPEN:
            raise NoFreeSlotError(f"the supervisor is {self._state.value}")
        if not self._free_slots():
            raise NoFreeSlotError(f"all {self._slots} playbook slots are taken")
        if job.run_id in self._sessions:
            raise NoFreeSlotError(f"run {job.run_id} is still going on")
        # With nothing running nothing will free memory: better to try than to stand still for ever.
        if self._sessions and self._available_memory() < self._memory_floor_bytes:
            raise NoFreeSlotError("too little memory is available for one more playbook")

    def _sweep(self) -> None:
        try:
            end_processes(lambda: [*marked(self._worker), *templates(self._worker)], grace_s=0.0)
            for place in leftovers(self._run_root, self._worker):
                place.remove()
        except BaseException:
            os.close(self._name_lock)
            raise

    def _work(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as loop_runner:
                loop_runner.run(self._host_runs())
        finally:
            with self._lock:
                self._state = _State.CLOSED
                os.close(self._name_lock)

    async def _host_runs(self) -> None:
        self._preloaded = self._preloaded_ansible() if self._preload else None
        pool = ChildPool(
            self._spawn,
            warm=self._warm,
            ping_every_s=min(PING_EVERY_S, self._silence_limit_s / 4),
            # A forked child costs the run that is about to begin nothing that it would feel.
            refill_delay_s=0.0 if self._preloaded is not None else REFILL_DELAY_S,
        )
        pool.open()
        tasks: set[asyncio.Task[None]] = set()
        while (session := await self._wanted.get()) is not None:
            task = asyncio.create_task(self._host(session, pool), context=session.context)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for going_on in list(self._sessions.values()):
            going_on.stop("the worker is stopping")
        await asyncio.gather(*tasks, return_exceptions=True)
        await pool.close()
        if self._preloaded is not None:
            await self._preloaded.close()

    def _preloaded_ansible(self) -> PreloadedAnsible | None:
        if not self._ansible.is_of_this_program:
            _log.info("Ansible is not preloaded: %s belongs to another Python", self._ansible.program)
            return None
        return PreloadedAnsible(
            worker=self._worker, run_root=self._run_root, ansible=self._ansible, on_fallback=self._on_plain_start
        )

    async def _spawn(self) -> ChildProcess:
        return await ChildProcess.spawn(
            worker=self._worker,
            run_root=self._run_root,
            silence_limit_s=self._silence_limit_s,
            process_memory_bytes=self._process_memory,
            ansible=self._ansible,
            preloaded=self._preloaded,
        )

    async def _host(self, session: RunSession, pool: ChildPool) -> None:
        if self._preloaded is not None:
            self._preloaded.expect(is_ours=session.job.is_ours)
        self._deliver(await session.run(pool))

    def _deliver(self, result: RunEnded) -> None:
        with self._lock:
            del self._sessions[result.run_id]
        try:
            self._on_finished(result)
        # The result is the receiver's now; its trouble must not end the thread that hosts all other runs.
        except Exception:  # noqa: BLE001
            _log.exception("the result of run %s was not taken", result.run_id)


def _claim_name(run_root: Path, worker: str) -> int:
    """Hold a lock on the worker's name until this process ends, however it ends."""
    descriptor = os.open(run_root / f"{worker}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise WorkerNameTakenError(f"another process runs as worker {worker!r}") from error
    return descriptor
