"""Check the SSH host key of a site: before any password is sent to it, and for each of its playbooks.

A site that precheck recorded no key of has it recorded before its playbook starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from sqlalchemy import select

from actors.worker.claimed_runs import ClaimedRuns, retry_while_unavailable, run_result
from actors.worker.inspections import Inspections
from db.database import Database
from db.errors import DatabaseUnavailableError
from db.host_keys import HostKeyContact, SettledHostKey, good_host_keys, settle
from db.runs import RunAssignment, RunResult
from db.schema import subclouds
from db.unit_of_work import unit_of_work
from messages.connection_variables import is_reached_by_ssh, site_variables
from messages.host_keys import HostKey, host_key_lines, signature_algorithms, stored_host_keys
from playbook_sets.phase_playbooks import connection_vars
from runner.errors import SshArgumentsError
from runner.ssh_arguments import KnownHost, SshTarget, ssh_target, uses_unchecked_ssh
from sites.errors import HostKeyScanError
from sites.host_key_scan import HostKeyScanner
from statemachine.eligibility import Ineligibility, failed
from statemachine.host_keys import HostKeyPolicy, HostKeyVerdict, changed_key_reason, missing_key_reason
from statemachine.states import FailureClass, RunOutcome

_log = structlog.get_logger(__name__)

_OTHER_SSH: Final = (
    "Its host key cannot be checked over ansible_connection={connection}: use ssh, or set PRESTAGER_HOST_KEYS=ignore."
)

_LOG_WORDS: Final = {
    HostKeyVerdict.MATCHES: "as recorded",
    HostKeyVerdict.RECORD: "recorded at this first contact",
    HostKeyVerdict.REPLACE: "recorded in place of another one: the site runs another software version",
}


@dataclass(frozen=True, kw_only=True)
class FoundSite:
    """Facts about a site for the check of its key.

    Attributes:
        oam_address: Where playbooks reach it; None: where its connection variables say.

        version: Its software version.

        is_verified: Whether the version was read at the site over verified TLS.
    """

    oam_address: str | None
    version: str
    is_verified: bool


@dataclass(frozen=True, kw_only=True)
class CheckedHostKey:
    """The end of a check: why the site is refused; else its keys, and a line for the log of its precheck."""

    refusal: Ineligibility | None = None
    keys: Sequence[HostKey] = ()
    log: str = ""


class HostKeyCheck:
    """Checks host keys for one worker process.

    `ssh_user` is the login where a site has none of its own; `owner` is the process that writes to the database.
    """

    def __init__(
        self, database: Database, policy: HostKeyPolicy, scanner: HostKeyScanner, *, ssh_user: str, owner: str
    ) -> None:
        self._database = database
        self._policy = policy
        self._scanner = scanner
        self._ssh_user = ssh_user
        self._owner = owner

    def applies_to(self, subcloud: Mapping[str, Any]) -> bool:
        """Tell whether the site has a host key that counts; `subcloud` is its row."""
        variables = subcloud["connection"]
        return self._policy is not HostKeyPolicy.IGNORE and (
            is_reached_by_ssh(variables) or uses_unchecked_ssh(variables)
        )

    def must_come_first(self, subcloud: Mapping[str, Any]) -> bool:
        """Tell whether the key of a site must be checked before its playbook: none is good, or it cannot be used.

        So it is with a step that was prechecked before its key was forgotten, or by a release that recorded none.
        """
        return self.applies_to(subcloud) and (
            not good_host_keys(subcloud, self._policy) or not is_reached_by_ssh(subcloud["connection"])
        )

    def known_host(self, subcloud: Mapping[str, Any]) -> KnownHost | None:
        """Return the keys that the playbooks of a site must find; None: they are not checked."""
        if not self.applies_to(subcloud):
            return None
        keys = stored_host_keys(subcloud["host_keys"])
        return KnownHost(alias=_alias(subcloud), keys=[key.line for key in keys], algorithms=signature_algorithms(keys))

    async def check(self, subcloud: Mapping[str, Any], found: FoundSite) -> CheckedHostKey:
        """Read the key of a site, compare it with those recorded, and record it where the policy says so.

        No password is sent. A repeat with the same key changes nothing.
        """
        if not self.applies_to(subcloud):
            return CheckedHostKey()
        name = subcloud["name"]
        if not is_reached_by_ssh(subcloud["connection"]):
            reason = _OTHER_SSH.format(connection=subcloud["connection"]["ansible_connection"])
            return CheckedHostKey(refusal=failed(name, reason, FailureClass.LOGIN))
        recorded = await asyncio.to_thread(retry_while_unavailable, lambda _: self._recorded(subcloud["id"]), _never)
        if not recorded and self._policy is HostKeyPolicy.STRICT:
            return CheckedHostKey(refusal=failed(name, missing_key_reason(name), FailureClass.LOGIN))
        try:
            target = self._target(subcloud, found.oam_address)
            key = await self._scanner.scan(target, _alias(subcloud), recorded)
        except (HostKeyScanError, SshArgumentsError) as error:
            return CheckedHostKey(
                refusal=failed(name, f"Its SSH host key could not be read: {error}.", FailureClass.UNREACHABLE)
            )
        contact = HostKeyContact(
            subcloud_id=subcloud["id"],
            key=key,
            version=found.version,
            is_verified=found.is_verified,
        )
        return _checked(
            name, key, await asyncio.to_thread(retry_while_unavailable, lambda _: self._settle(contact), _never)
        )

    def _target(self, subcloud: Mapping[str, Any], oam_address: str | None) -> SshTarget:
        variables = connection_vars(self._ssh_user, oam_address, site_variables(subcloud))
        return ssh_target(subcloud["name"], variables)

    def _recorded(self, subcloud_id: int) -> tuple[HostKey, ...]:
        with self._database.read() as connection:
            columns = select(subclouds.c.host_keys, subclouds.c.host_keys_origin)
            row = connection.execute(columns.where(subclouds.c.id == subcloud_id)).mappings().one_or_none()
        return () if row is None else good_host_keys(row, self._policy)

    def _settle(self, contact: HostKeyContact) -> SettledHostKey | None:
        with unit_of_work(self._database) as work:
            settled = settle(work, contact, self._policy)
        for event, fields in work.log_lines():
            _log.info(event, **fields)
        return settled


def _never() -> bool:
    return False


def _checked(name: str, key: HostKey, settled: SettledHostKey | None) -> CheckedHostKey:
    if settled is None:
        return CheckedHostKey(refusal=failed(name, "The subcloud was removed.", FailureClass.CONTROLLER))
    if settled.verdict is HostKeyVerdict.MISSING:
        return CheckedHostKey(refusal=failed(name, missing_key_reason(name), FailureClass.LOGIN))
    if settled.verdict is HostKeyVerdict.CHANGED:
        recorded = [one.description for one in settled.recorded]
        reason = changed_key_reason(name, recorded=recorded, presented=key.description)
        return CheckedHostKey(refusal=failed(name, reason, FailureClass.LOGIN))
    keys = settled.recorded if settled.verdict is HostKeyVerdict.MATCHES else [key]
    return CheckedHostKey(keys=keys, log=f"SSH host key: {key.description}, {_LOG_WORDS[settled.verdict]}\n")


def _alias(subcloud: Mapping[str, Any]) -> str:
    """Return the id: a site that moves to another address is still the same."""
    return str(subcloud["id"])


class FirstContact:
    """Meets sites for one worker process.

    `start` starts the playbook of a run whose site is known, or hands the run back; `stopped` returns the report of a
    run that was stopped; `finish` reports how a run ended; `freed` is called when a place is free again.
    """

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        host_keys: HostKeyCheck,
        inspections: Inspections,
        held: ClaimedRuns,
        *,
        start: Callable[[RunAssignment], None],
        stopped: Callable[[int], RunResult],
        finish: Callable[[RunResult], None],
        freed: Callable[[], None],
    ) -> None:
        self._host_keys = host_keys
        self._inspections = inspections
        self._held = held
        self._start = start
        self._stopped = stopped
        self._finish = finish
        self._freed = freed

    def is_needed(self, assignment: RunAssignment) -> bool:
        """Tell whether no usable key of the run's site is recorded."""
        return self._host_keys.must_come_first(assignment.subcloud)

    def begin(self, assignment: RunAssignment) -> bool:
        """Have the key recorded, then the playbook started, and return at once; the run is a claimed one.

        False: as many sites as possible are being asked.
        """
        run_id = assignment.run_id
        if not self._inspections.reserve():
            return False
        self._inspections.begin(run_id, self._meet(assignment), lambda answer: self._met(run_id, answer))
        return True

    async def _meet(self, assignment: RunAssignment) -> RunResult | None:
        """Return how the run ends where the site is refused; None: its playbook was started."""
        found = FoundSite(oam_address=assignment.oam_address, version=assignment.from_version, is_verified=False)
        checked = await self._host_keys.check(assignment.subcloud, found)
        if checked.refusal is not None:
            refusal = checked.refusal
            return run_result(assignment.run_id, RunOutcome.FAILED, refusal.text, failure_class=refusal.failure_class)
        known = replace(assignment, subcloud={**assignment.subcloud, "host_keys": host_key_lines(checked.keys)})
        with self._held.context(assignment.run_id).bound():
            await asyncio.to_thread(self._start, known)
        return None

    def _met(self, run_id: int, answer: Future[RunResult | None]) -> None:
        """Give the place back and report the end of a run whose playbook was not started."""
        self._inspections.release()
        report = self._stopped(run_id) if answer.cancelled() else self._report(run_id, answer)
        if report is not None:
            self._finish(report)
        self._freed()

    @staticmethod
    def _report(run_id: int, answer: Future[RunResult | None]) -> RunResult | None:
        error = answer.exception()
        if error is None:
            return answer.result()
        _log.error("host-key.not-checked", exc_info=error)
        if isinstance(error, DatabaseUnavailableError):
            # No failure of the site: the run is begun again.
            return run_result(run_id, RunOutcome.DRAINED)
        reason = f"Its SSH host key could not be checked: {type(error).__name__}."
        return run_result(run_id, RunOutcome.FAILED, reason, failure_class=FailureClass.CONTROLLER)
