"""The precheck of one subcloud, from rows and from the facts read at the site."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import compress

import structlog

from actors.coordinator.site_access import access_error, is_address_given
from actors.worker.claimed_runs import run_result
from actors.worker.host_key_check import FoundSite, HostKeyCheck
from db.errors import DatabaseUnavailableError
from db.inventory import site_status
from db.runs import RunAssignment, RunResult
from messages.site_addresses import REFUSED
from playbook_sets.phase_playbooks import require_unstage_playbook
from runner.errors import NoUnstagePlaybookError
from runner.machine_addresses import is_elsewhere
from sites.errors import InspectionError
from sites.inspector import Inspector, Reading
from statemachine.eligibility import (
    CONTROLLER_UPGRADING,
    EligibilityRules,
    Ineligibility,
    as_unstage,
    check_deploy,
    check_facts,
    check_release,
    check_status,
    check_unstage,
    unreachable,
)
from statemachine.site_operations import check_operation
from statemachine.states import Effect, FailureClass, RunOutcome
from statemachine.time_limits import fixed_limit

if TYPE_CHECKING:
    from sites.dcmanager import DcmanagerOperations

_log = structlog.get_logger(__name__)


class Precheck:
    """Judges for one worker."""

    def __init__(
        self,
        inspector: Inspector,
        rules: EligibilityRules,
        host_keys: HostKeyCheck,
        *,
        playbooks_dir: Path,
        dcmanager: DcmanagerOperations | None = None,
    ) -> None:
        self._playbooks_dir = playbooks_dir
        self._inspector = inspector
        self._rules = rules
        self._host_keys = host_keys
        self._dcmanager = dcmanager

    def without_asking(self, assignment: RunAssignment) -> RunResult | None:
        """Return how the precheck ends where the site need not be asked; None: it must be."""
        try:
            return self._without_asking(assignment)
        except Exception as error:  # noqa: BLE001 - logged, and the run's outcome
            return _broken(assignment, error)

    def _without_asking(self, assignment: RunAssignment) -> RunResult | None:
        refusal = self._refuse_before_asking(assignment)
        if refusal is not None:
            return _refused(assignment, refusal)
        if self._dcmanager is not None:
            return None
        try:
            facts = self._inspector.known(assignment.subcloud)
        except InspectionError as error:
            return _refused(assignment, unreachable(assignment.subcloud["name"], str(error)))
        if facts is None:
            return None
        reading = Reading(facts=facts)
        refusal = self._judge(assignment, reading)
        if refusal is not None:
            return _refused(assignment, refusal, reading)
        return None if self._host_keys.applies_to(assignment.subcloud) else _succeeded(assignment, reading)

    async def ask(self, assignment: RunAssignment) -> RunResult:
        """Ask the site within the time limits of its strategy; see `_ask`.

        Raises:
            InspectionError: The facts could not be read.
        """
        limit = fixed_limit(assignment.phase, assignment.timeouts, assignment.worked_s)
        if limit is None:
            return await self._ask(assignment)
        timer = asyncio.timeout(limit.seconds)
        try:
            async with timer:
                return await self._ask(assignment)
        except TimeoutError:
            if not timer.expired():
                raise
            reason = limit.reached(assignment.phase)
            return run_result(assignment.run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.TIMEOUT)

    async def _ask(self, assignment: RunAssignment) -> RunResult:
        """Ask what dcmanager does on the site, then read its facts and its host key, and return how the precheck ends.

        Raises:
            InspectionError: The facts could not be read.
        """
        warning, refusal = await self._ask_dcmanager(assignment.subcloud["name"])
        if refusal is not None:
            return _refused(assignment, refusal)
        reading = await self._inspector.read(assignment.subcloud, for_install=_is_for_install(assignment))
        reading = replace(reading, log=warning + reading.log)
        refusal = self._judge(assignment, reading)
        if refusal is not None:
            return _refused(assignment, refusal, reading)
        found = FoundSite(
            oam_address=reading.facts.oam_address,
            version=reading.facts.software_version,
            is_verified=reading.is_verified,
        )
        checked = await self._host_keys.check(assignment.subcloud, found)
        reading = replace(reading, log=reading.log + checked.log)
        if checked.refusal is not None:
            return _refused(assignment, checked.refusal, reading)
        return _succeeded(assignment, reading)

    async def _ask_dcmanager(self, name: str) -> tuple[str, Ineligibility | None]:
        """Return a warning for the log of the precheck, and why the site is passed over.

        A step that was let in at create is not turned down half-way because dcmanager does not answer.
        """
        if self._dcmanager is None:
            return "", None
        try:
            operations = (await self._dcmanager.read_async()).operations
        except InspectionError as error:
            _log.warning("dcmanager.not-read", cause=str(error))
            return f"Warning: whether dcmanager works on the site is not known. {error}\n", None
        return "", check_operation(name, operations.get(name))

    @staticmethod
    def after_asking(assignment: RunAssignment, answer: Future[RunResult]) -> RunResult:
        """Return how the precheck ends with what `ask` gave; `answer` is done and not cancelled."""
        error = answer.exception()
        if error is None:
            return answer.result()
        if not isinstance(error, InspectionError):
            return _broken(assignment, error)
        _log.info("site.not-read", cause=str(error))
        return _refused(assignment, unreachable(assignment.subcloud["name"], str(error)))

    def _refuse_before_asking(self, assignment: RunAssignment) -> Ineligibility | None:
        refusal = self._judge_known(assignment)
        if refusal is not None:
            return refusal
        text = access_error(assignment.subcloud)
        if text is not None:
            return Ineligibility(skip=False, text=text)
        if assignment.effect is Effect.REMOVES:
            return None
        # The controller itself is asked at create and at standalone prestage only (StarlingX does so too): a step that
        # was let in is not turned down half-way because the controller does not answer.
        return Ineligibility(skip=False, text=CONTROLLER_UPGRADING) if assignment.controller_upgrading else None

    def _judge_known(self, assignment: RunAssignment) -> Ineligibility | None:
        status = site_status({**assignment.subcloud, "busy_with": assignment.busy_with})
        if assignment.effect is not Effect.REMOVES:
            return check_status(status)
        try:
            require_unstage_playbook(self._playbooks_dir)
        except NoUnstagePlaybookError as error:
            return Ineligibility(skip=False, text=str(error), failure_class=FailureClass.PLAYBOOK)
        return check_unstage(status, assignment.release, assignment.subcloud["software_version"])

    def _judge(self, assignment: RunAssignment, reading: Reading) -> Ineligibility | None:
        name, facts = assignment.subcloud["name"], reading.facts
        declared = assignment.subcloud["software_version"]
        if facts.software_version != declared:
            _log.warning("site.other-version", declared=declared, found=facts.software_version)
        moved = _judge_address(assignment.subcloud, facts.oam_address)
        if assignment.effect is Effect.REMOVES:
            status = site_status({**assignment.subcloud, "busy_with": assignment.busy_with})
            return (
                moved or check_deploy(name, facts) or check_unstage(status, assignment.release, facts.software_version)
            )
        return (
            moved
            or check_facts(name, facts, force=assignment.force, rules=self._rules)
            or check_release(name, assignment.release, facts.software_version, for_sw_deploy=assignment.for_sw_deploy)
        )


def _is_for_install(assignment: RunAssignment) -> bool:
    return assignment.effect is Effect.STAGES and not assignment.for_sw_deploy


def _judge_address(subcloud: Mapping[str, Any], told: str) -> Ineligibility | None:
    """Refuse an address from the site's facts that is one of this machine: passwords would be sent there."""
    if told == subcloud["oam_floating_ip"] or is_address_given(subcloud) or is_elsewhere(told):
        return None
    text = f"{subcloud['name']} says that its OAM address is {told}, but {REFUSED}."
    return Ineligibility(skip=False, text=text)


def _broken(assignment: RunAssignment, error: BaseException) -> RunResult:
    """Log an error of this program and return the end of the run: tried again while the database is away."""
    _log.error("precheck.broke", exc_info=error)
    if isinstance(error, DatabaseUnavailableError):
        return run_result(assignment.run_id, RunOutcome.DRAINED)
    details = f"The precheck itself broke: {type(error).__name__}."
    return run_result(assignment.run_id, RunOutcome.FAILED, details, failure_class=FailureClass.CONTROLLER)


def _succeeded(assignment: RunAssignment, reading: Reading) -> RunResult:
    return RunResult(
        run_id=assignment.run_id,
        outcome=RunOutcome.SUCCEEDED,
        details="",
        facts={},
        output=_packed(reading.log),
        from_version=reading.facts.software_version,
        oam_address=reading.facts.oam_address,
    )


def _refused(assignment: RunAssignment, refusal: Ineligibility, reading: Reading | None = None) -> RunResult:
    """Return the report of a site that is refused; what it runs, if it was read, may end what it shows as staged."""
    if assignment.effect is Effect.REMOVES:
        refusal = as_unstage(refusal)
    return RunResult(
        run_id=assignment.run_id,
        outcome=RunOutcome.SKIPPED if refusal.skip else RunOutcome.FAILED,
        details=refusal.text,
        facts={},
        output=_packed(reading.log if reading is not None else ""),
        from_version=reading.facts.software_version if reading is not None else None,
        failure_class=refusal.failure_class,
    )


def _packed(log: str) -> bytes:
    return compress(log.encode()) if log else b""
