"""Playbook runs of the worker: the job that a claimed run needs, and the result that an ended one has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import compress

from actors.coordinator.site_access import access_error, is_address_checked
from actors.worker.claimed_runs import run_result
from actors.worker.dependencies import WorkerDependencies
from actors.worker.host_key_check import HostKeyCheck
from actors.worker.live_output import LiveRuns
from db.errors import UnsealingError
from db.inventory import open_releases
from db.live_output import UnsavedTail
from db.runs import RunAssignment, RunResult
from messages.connection_variables import site_variables
from playbook_sets.controller_content import mount_note, release_fault
from playbook_sets.phase_playbooks import PhaseOrder, nothing_to_do, passing_fault, playbook_job
from playbook_sets.playbook_set import PlaybookSet, read_playbook_set
from runner.interface import PlaybookJob, RunEnded
from statemachine.states import PHASES, FailureClass, RunOutcome, StepState
from statemachine.time_limits import RunLimit, fixed_limit, replaces_setting


class PlaybookRuns:
    """Makes jobs and results for one worker process. Callable from any thread."""

    def __init__(self, tools: WorkerDependencies, host_keys: HostKeyCheck, live: LiveRuns) -> None:
        self._tools = tools
        self._host_keys = host_keys
        self._live = live

    def job(
        self, assignment: RunAssignment, traceparent: str | None, *, since_claim_s: float = 0.0
    ) -> PlaybookJob | RunResult:
        """Return the job of a run; or its result, where there is nothing to do or the playbook cannot be run.

        Args:
            assignment: The run, claimed.

            traceparent: The place of the run in a trace; None: it is not traced.

            since_claim_s: Seconds since the claim, which count against the limit of the site.

        Raises:
            UnsealingError: The site's password cannot be decrypted.

            NoUnstagePlaybookError: A staged release is to be removed, and the set has no playbook for it.
        """
        layout = self._tools.layout
        reason = access_error(assignment.subcloud)
        if reason is not None:
            return run_result(assignment.run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.CONTROLLER)
        order = self._order(assignment, read_playbook_set(layout.playbooks_dir))
        reason = release_fault(layout, order)
        if reason is not None:
            return run_result(assignment.run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.CONTROLLER)
        reason = passing_fault(layout, order)
        if reason is not None:
            return run_result(assignment.run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.PROOF)
        idle = nothing_to_do(layout, order)
        if idle is not None:
            output = compress((idle + mount_note(layout, order)).encode())
            return run_result(assignment.run_id, RunOutcome.SUCCEEDED, output=output)
        limit = fixed_limit(assignment.phase, assignment.timeouts, assignment.worked_s + since_claim_s)
        if limit is not None and limit.seconds <= 0:
            late = limit.reached(assignment.phase)
            return run_result(assignment.run_id, RunOutcome.FAILED, late, failure_class=FailureClass.TIMEOUT)
        order = replace(order, known_host=self._host_keys.known_host(assignment.subcloud))
        job = playbook_job(layout, order, self._password(assignment))
        if limit is not None:
            job = _limited(job, limit, assignment)
        return replace(
            job,
            checks_address=is_address_checked(assignment.subcloud, assignment.oam_address),
            traceparent=traceparent,
        )

    def result(self, ended: RunEnded, ids: Mapping[str, int | str], *, is_draining: bool) -> RunResult:
        """Return the result of a run whose playbook has ended, and forget its live output.

        Args:
            ended: The end as the runner saw it.

            ids: The ids of the run's log lines; empty: the run is not known here.

            is_draining: Whether the worker takes no more runs.
        """
        unsaved = self._unsaved_tail(ended)
        progress = self._live.ended(ended.run_id)
        return RunResult(
            run_id=ended.run_id,
            outcome=self._outcome(ended, ids, progress, is_draining=is_draining),
            details=ended.details,
            facts=ended.facts,
            output=ended.output,
            left_out_at_bytes=ended.left_out_at_bytes,
            left_out_bytes=ended.left_out_bytes,
            beyond=unsaved,
            progress=progress,
            failure=ended.failure,
        )

    def _order(self, assignment: RunAssignment, playbooks: PlaybookSet) -> PhaseOrder:
        return PhaseOrder(
            run_id=assignment.run_id,
            phase=assignment.phase,
            subcloud_name=assignment.subcloud["name"],
            release=assignment.release,
            from_version=assignment.from_version,
            oam_address=assignment.oam_address,
            connection=site_variables(
                assignment.subcloud,
                own_playbooks=playbooks.is_ours,
                on_controller=PHASES[assignment.phase].once_per_strategy,
            ),
            for_sw_deploy=assignment.for_sw_deploy,
            software_list=self._software_list(assignment, playbooks),
            passed_content=assignment.passed_content,
            protected_releases=self._protected_releases(assignment),
        )

    def _software_list(self, assignment: RunAssignment, playbooks: PlaybookSet) -> Sequence[str]:
        if assignment.phase != StepState.PACKAGES or not (assignment.for_sw_deploy and playbooks.takes_software_list):
            return ()
        return self._tools.software.lines(assignment)

    def _protected_releases(self, assignment: RunAssignment) -> list[str]:
        if not self._tools.layout.keep_releases:
            return []
        with self._tools.database.read() as connection:
            return open_releases(connection, assignment.subcloud["id"])

    def _password(self, assignment: RunAssignment) -> str:
        if assignment.sealed is None:
            raise UnsealingError
        return self._tools.sealer.open(assignment.sealed, bound_to=assignment.bound_to)

    def _unsaved_tail(self, ended: RunEnded) -> UnsavedTail | None:
        if ended.cut_at_bytes is None:
            return None
        return UnsavedTail(at_bytes=ended.cut_at_bytes, pieces=self._live.unwritten(ended.run_id))

    def _outcome(
        self, ended: RunEnded, ids: Mapping[str, int | str], progress: Mapping[str, Any] | None, *, is_draining: bool
    ) -> RunOutcome:
        if ended.outcome == RunOutcome.LOST:
            # A stop in good order is no failure: it costs no attempt.
            return RunOutcome.DRAINED if is_draining else RunOutcome.LOST
        if ended.outcome == RunOutcome.FAILED and not _has_begun(progress) and self._is_about_playbooks(ids):
            return RunOutcome.DRAINED
        return ended.outcome

    def _is_about_playbooks(self, ids: Mapping[str, int | str]) -> bool:
        """Return whether a run that came to no play says nothing of its site: the set is broken, or to be checked."""
        playbooks = self._tools.playbooks
        return playbooks.obstacle() is not None or playbooks.doubt((ids.get("step"), ids.get("phase")))


def _limited(job: PlaybookJob, limit: RunLimit, assignment: RunAssignment) -> PlaybookJob:
    """Return the job with a limit that nothing moves; where it replaces the setting, the site is locked for as long."""
    job = replace(job, limit_s=limit.seconds, limit_reason=limit.reached(assignment.phase))
    if not replaces_setting(assignment.phase, assignment.timeouts):
        return job
    locked = {"prestage_deadline_s": limit.seconds} if "prestage_deadline_s" in job.extra_vars else {}
    return replace(job, deadline_s=None, extra_vars={**job.extra_vars, **locked})


def _has_begun(progress: Mapping[str, Any] | None) -> bool:
    return progress is not None and bool(progress["play"] or progress["tasks"])
