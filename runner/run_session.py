"""One accepted job in the supervisor: from a child for it to its result."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Callable
from contextvars import copy_context

from runner.child_pool import ChildPool
from runner.child_process import ChildProcess, describe_exit
from runner.failure_text import sentence
from runner.interface import NullRunWatch, PlaybookJob, RunEnded, RunWatch, StopRequest, deadline_for
from runner.masking import Masker
from runner.progress import Progress
from runner.protocol import (
    ABANDONED_EXIT_CODE,
    Accepted,
    Announced,
    Ended,
    Output,
    OutputPreview,
    OutputTail,
    Report,
    Stop,
)
from statemachine.problems import failure
from statemachine.states import FailureClass, RunOutcome

_log = logging.getLogger(__name__)

# How much longer than the grace a child may take to stop its tree before it is killed itself, in seconds.
_STOP_MARGIN_S = 5.0

# A child that has reported its end leaves within this time, in seconds.
_LEAVE_S = 5.0

# Outcomes of stopped runs whose details name the task that was running.
_WITH_TASK = frozenset({RunOutcome.FAILED, RunOutcome.CANCELLED})
_CANCELLED = "It was cancelled"


# Longest time that a cancelled playbook gets for its critical section, in seconds, and how often its end is looked for.
CRITICAL_SECTION_S = 600.0
_LOOK_S = 0.1


class RunSession:
    """Hosts one job. Everything but the construction happens in the event loop.

    The first request to stop counts; the result of a playbook that ended before the request took effect stays as it is.
    A later request that waits for no critical section ends the wait of the first.
    """

    def __init__(self, job: PlaybookJob, *, stop_grace_s: float, watch: RunWatch | None = None) -> None:
        self.job = job
        self._watch = watch or NullRunWatch()
        # Context of the thread that submits the job: the ids in its log lines.
        self.context = copy_context()
        self._stop_grace_s = stop_grace_s
        self._stop: StopRequest | None = None
        self._is_told_to_stop = False
        # Until when a critical section is waited for, by the loop's clock.
        self._spared_until = 0.0
        self._has_told_of_section = False
        self._child: ChildProcess | None = None
        self._accepted = False
        self._ended: Ended | None = None
        self._zip = zlib.compressobj()
        self._output: list[bytes] = []
        # How much the playbook has printed before anything is held back.
        self._printed_bytes = 0
        # The child handed over what was held back.
        self._is_whole = False
        self._timers: list[asyncio.TimerHandle] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._began_at = 0.0

    def stop(self, reason: str) -> None:
        """Stop the run's whole tree at once; it ends as LOST. Repeating it does nothing."""
        self._request_stop(StopRequest(outcome=RunOutcome.LOST, reason=reason, grace_s=self._stop_grace_s))

    def cancel(self, grace_s: float) -> None:
        """Stop the run's whole tree once it is in no critical section; it ends as CANCELLED."""
        self._request_stop(
            StopRequest(
                outcome=RunOutcome.CANCELLED,
                reason=_CANCELLED,
                grace_s=grace_s,
                critical_section_s=CRITICAL_SECTION_S,
            )
        )

    def _request_stop(self, request: StopRequest) -> None:
        loop = asyncio.get_running_loop()
        if self._stop is None:
            self._stop = request
            self._spared_until = loop.time() + request.critical_section_s
            self._send_stop()
        elif not request.critical_section_s and self._spared_until > loop.time():
            self._spared_until = loop.time()
            self._send_stop()

    async def run(self, pool: ChildPool) -> RunEnded:
        """Run the job to its end; never raises but for cancellation of the task."""
        # asyncio's clock is monotonic: a jump of the wall clock ends no run.
        self._began_at = asyncio.get_running_loop().time()
        if self.job.deadline_s is not None:
            self._set_deadline(self.job.deadline_s)
        if self.job.limit_s is not None:
            self._after(self.job.limit_s, self._reach_limit)
        try:
            await self._host(pool)
        except OSError as error:
            _log.exception("run %s could not be hosted", self.job.run_id)
            self._not_hosted(error)
        except Exception as error:  # noqa: BLE001
            _log.exception("run %s could not be hosted", self.job.run_id)
            self._fail(f"the run could not be hosted: {type(error).__name__}: {error}")
        finally:
            for timer in self._timers:
                timer.cancel()
        return self._result()

    async def _host(self, pool: ChildPool) -> None:
        # A second child when the first died before it had seen the job: a warm one may have been killed long ago.
        for _ in range(2):
            if self._is_decided():
                break
            self._child = await pool.take()
            self._child.say(self.job)
            self._send_stop()
            try:
                await self._listen(self._child)
            finally:
                await pool.dispose(self._child, wait_s=_LEAVE_S if self._ended else 1.0)
        if self._ended is None:
            self._interpret_silence()

    def _is_decided(self) -> bool:
        return self._accepted or self._ended is not None or self._stop is not None

    async def _listen(self, child: ChildProcess) -> None:
        async for report in child.reports():
            self._take(report)

    def _take(self, report: Report) -> None:
        match report:
            case Accepted():
                self._accepted = True
            case Announced(transfer_bytes=transfer_bytes):
                job = self.job
                if job.deadline_s is not None:
                    self._set_deadline(deadline_for(job.deadline_s, transfer_bytes, job.floor_rate_mbit_s))
            case Output(text=text):
                content = self._keep(text)
                self._notify(lambda: self._watch.add_output(self.job.run_id, self._printed_bytes, content))
                self._printed_bytes += len(content)
            case OutputPreview(at_bytes=at_bytes, text=text):
                self._notify(lambda: self._watch.add_output(self.job.run_id, at_bytes, _utf8(text)))
            case Progress():
                self._notify(lambda: self._watch.set_progress(self.job.run_id, report))
            case OutputTail(text=text):
                self._is_whole = True
                self._keep(text)
            case Ended():
                self._is_whole = True
                self._ended = report

    def _keep(self, text: str) -> bytes:
        content = _utf8(text)
        self._output.append(self._zip.compress(content))
        return content

    def _notify(self, call: Callable[[], None]) -> None:
        try:
            call()
        # A watch must not break the run.
        except Exception:  # noqa: BLE001
            _log.exception("what run %s printed was not taken", self.job.run_id)

    def _send_stop(self) -> None:
        child, stop = self._child, self._stop
        if child is None or stop is None or self._is_told_to_stop:
            return
        if self._is_spared(child):
            self._after(_LOOK_S, self._send_stop)
            return
        self._is_told_to_stop = True
        child.say(Stop(grace_s=stop.grace_s))
        # A child that is frozen or stuck itself is ended from here, by its marker.
        self._after(stop.grace_s + _STOP_MARGIN_S, child.kill)

    def _is_spared(self, child: ChildProcess) -> bool:
        """Return whether the playbook is in a critical section that may still go on."""
        left_s = self._spared_until - asyncio.get_running_loop().time()
        if left_s <= 0 or not child.is_in_critical_section:
            return False
        if not self._has_told_of_section:
            self._has_told_of_section = True
            _log.info(
                "run %s is in a critical section: it is stopped after that, in %.0f s at the latest",
                self.job.run_id,
                left_s,
            )
        return True

    def _not_hosted(self, error: OSError) -> None:
        """A machine short of processes or descriptors says nothing about the site: the run may be tried again."""
        text = f"the run could not be hosted: {error.strerror}"
        if self._accepted:
            self._fail(text)
        else:
            self._ended = Ended(outcome=RunOutcome.LOST, details=text, facts={})

    def _interpret_silence(self) -> None:
        """Find words for a child that ended without a report."""
        child = self._child
        if self._stop is not None or child is None:
            self._ended = Ended(outcome=RunOutcome.LOST, details="", facts={})
        elif child.exit_code == ABANDONED_EXIT_CODE:
            self._ended = Ended(outcome=RunOutcome.LOST, details="the worker gave no sign of life", facts={})
        else:
            words = f": {child.last_words}" if child.last_words else ""
            self._fail(f"the run's process died ({describe_exit(child.exit_code)}){words}")

    def _fail(self, text: str) -> None:
        masked = Masker(self.job.secrets.values()).text(text)
        why = failure(masked, failure_class=FailureClass.CONTROLLER, names=[self.job.host])
        self._ended = Ended(outcome=RunOutcome.FAILED, details=sentence(masked), facts={}, failure=why)

    def _result(self) -> RunEnded:
        ended = self._ended or Ended(outcome=RunOutcome.FAILED, details="the run was lost", facts={})
        outcome, details, why = ended.outcome, ended.details, ended.failure
        if ended.outcome is RunOutcome.LOST and self._stop is not None:
            outcome, details = self._stop.outcome, self._stop.reason
            if outcome in _WITH_TASK and ended.details:
                details = f"{details.removesuffix('.')}; {ended.details}"
            if self._stop.failure_class is not None:
                why = failure(details, failure_class=self._stop.failure_class, names=[self.job.host])
        return RunEnded(
            run_id=self.job.run_id,
            outcome=outcome,
            details=details,
            output=b"".join(self._output) + self._zip.flush(),
            facts=ended.facts,
            left_out_at_bytes=ended.left_out_at_bytes,
            left_out_bytes=ended.left_out_bytes,
            cut_at_bytes=None if self._is_whole else self._printed_bytes,
            tasks=ended.tasks,
            failure=why,
        )

    def _set_deadline(self, deadline_s: float) -> None:
        """End the run so many seconds after its beginning; takes the place of an earlier deadline."""
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        reason = f"did not finish within {deadline_s:g} s"
        stop = self._limit_request(reason)
        self._deadline = loop.call_at(self._began_at + deadline_s, lambda: self._request_stop(stop))
        self._timers.append(self._deadline)

    def _reach_limit(self) -> None:
        reason = self.job.limit_reason
        self._request_stop(self._limit_request(reason))

    def _limit_request(self, reason: str) -> StopRequest:
        return StopRequest(
            outcome=RunOutcome.FAILED,
            reason=reason,
            grace_s=self._stop_grace_s,
            failure_class=FailureClass.TIMEOUT,
        )

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, action))


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
