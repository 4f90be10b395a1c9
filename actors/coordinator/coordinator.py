"""The coordinator: answers commands and carries the plan out, one transaction at a time.

Called by its actors; many instances may exist, for the order of their transactions comes from the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from math import inf
from threading import Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

import structlog
from sqlalchemy import insert, select

from actors.coordinator import (
    create_strategy,
    groups,
    prestage_subcloud,
    stage_gates,
    step_control,
    strategies,
    strategy_control,
    strategy_retry,
    subclouds,
    webhooks,
)
from actors.coordinator.context import CommandContext, ControllerState, CoordinatorRules
from actors.coordinator.errors import CommandRefusedError
from actors.coordinator.pass_requests import PassRequests
from actors.coordinator.phase_spans import PhaseSpans
from actors.metrics import Metrics, NullMetrics
from db.apply_plan import PlanWriter
from db.audit import record
from db.database import Database
from db.errors import DatabaseUnavailableError, StalePlanError
from db.load_snapshot import load_snapshot
from db.schema import commands
from db.unit_of_work import UnitOfWork, unit_of_work
from messages.command_specs import COMMAND_SPECS
from messages.commands import Answer, Command, CommandType
from sites.errors import InspectionError
from sites.inspector import ControllerCheck, DeclaredControllerCheck, Inspector
from statemachine.actions import Action, ExpireRun
from statemachine.plan import plan
from tracing.tracer import NULL_TRACER, Kind, LogContext, Tracer

if TYPE_CHECKING:
    from sites.dcmanager import DcmanagerOperations

_log = structlog.get_logger(__name__)

Handler = Callable[[CommandContext, Command], Any]

# Modules whose functions handle commands.
_MODULES: Final = (
    create_strategy,
    *(
        groups,
        prestage_subcloud,
        stage_gates,
        step_control,
        strategies,
        strategy_control,
        strategy_retry,
        subclouds,
        webhooks,
    ),
)
_HANDLERS: Final[Mapping[CommandType, Handler]] = {
    kind: next(getattr(module, spec.handler) for module in _MODULES if hasattr(module, spec.handler))
    for kind, spec in COMMAND_SPECS.items()
}

# Tries of one transaction: each meets the rows anew, so a few are plenty.
_TRIES: Final = 5
# Longest wait of a command for the database, in seconds, when a caller waits for the answer.
_PATIENCE_S: Final = 15.0
_PAUSE_S: Final = 0.5
# How long a passed lease must stand: longer than a worker's pause between two renewals, in seconds.
_LEASE_PATIENCE_S: Final = 12.0
# Plans of one pass.
_ROUNDS: Final = 20


class Coordinator:
    """Answers commands and plans; see the module.

    `patience_s` is how long a command waits for a database that is away; `controller_check` reads whether the system
    controller is being upgraded, beside what the operator declared; `dcmanager` reads its operations on subclouds;
    `tracer` records commands and phases.
    """

    def __init__(  # noqa: PLR0913 - made in one place
        self,
        database: Database,
        inspector: Inspector,
        rules: CoordinatorRules,
        *,
        patience_s: float = _PATIENCE_S,
        controller_check: ControllerCheck | None = None,
        dcmanager: DcmanagerOperations | None = None,
        metrics: Metrics | None = None,
        tracer: Tracer = NULL_TRACER,
    ) -> None:
        self._database = database
        self._inspector = inspector
        self._rules = rules
        self._pass_requests = PassRequests()
        self._overdue = LeaseExpiry()
        self._questioned = Lock()
        self._patience_s = patience_s
        self._controller_check = controller_check or DeclaredControllerCheck()
        self._dcmanager = dcmanager
        self._metrics = metrics or NullMetrics()
        self._tracer = tracer
        self._phase_spans = PhaseSpans(database, tracer)

    def execute(self, command: Command, *, is_awaited: bool = True) -> Answer:
        """Carry out a command and return its answer, the stored one when it was carried out before. Never raises.

        While the database is away the command waits for it: for a while if a caller waits for the answer, which is then
        to try again; else as long as it takes, for no caller would repeat it.
        """
        facts = {"prestager.command.id": command.id, "prestager.command.type": str(command.type)}
        with (
            LogContext(_ids(command)),
            self._tracer.begin(
                f"execute {command.type}", parent=command.traceparent, kind=Kind.CONSUMER, attributes=facts
            ) as span,
        ):
            answer = self._answer(command, is_awaited=is_awaited)
            span.set_attributes({"prestager.status": answer.status})
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                span.fail(answer.detail)
        self._metrics.command_answered(command.type, answer.status)
        return answer

    def _answer(self, command: Command, *, is_awaited: bool) -> Answer:
        try:
            patience_s = self._patience_s if is_awaited else inf
            if COMMAND_SPECS[command.type].is_question:
                return self._answer_question(command, patience_s)
            # Before the transaction, which must not wait for the network.
            state = self._ask_controller(command)
            answer: Answer = self._repeat(
                lambda: self._once(lambda work: self._execute(work, command, state)), patience_s
            )
        except DatabaseUnavailableError as error:
            _log.warning("command.not-stored", reason=error.reason)
            return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, detail="The database is not available; try again.")
        except Exception:  # noqa: BLE001 - the top of a command, which its answer reports
            _log.exception("command.broke")
            answer = Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR, detail=COMMAND_SPECS[command.type].on_failure)
            if not COMMAND_SPECS[command.type].is_question:
                self._record_failure(command, answer)
            return answer
        _log.info("command.answered", status=answer.status, detail=answer.detail, **_strategy_of(command, answer))
        return answer

    def _answer_question(self, command: Command, patience_s: float) -> Answer:
        """Answer a question; one at a time, for each reads the whole fleet beside the commands."""
        if not self._questioned.acquire(blocking=False):
            return Answer(status=HTTPStatus.TOO_MANY_REQUESTS, detail="Another preview is being made; try again.")
        try:
            state = self._ask_controller(command)
            answer: Answer = self._repeat(lambda: self._read(command, state), patience_s)
        finally:
            self._questioned.release()
        _log.info("question.answered", status=answer.status, detail=answer.detail)
        return answer

    def _read(self, command: Command, state: ControllerState) -> Answer:
        with self._database.read(is_one_moment=True) as connection:
            work = UnitOfWork(connection, datetime.now(UTC))
            context = CommandContext(work=work, rules=self._rules, inspector=self._inspector, controller=state)
            try:
                return Answer(status=HTTPStatus.OK, body=_HANDLERS[command.type](context, command))
            except CommandRefusedError as error:
                return Answer(status=error.status, detail=error.detail)

    def _record_failure(self, command: Command, answer: Answer) -> None:
        """Put an answer whose own transaction broke into the audit; it is given whatever becomes of the entry."""
        try:
            with self._database.write() as connection:
                record(connection, command, answer, datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - the cause of the answer may be one here too
            _log.warning("command.not-recorded", fault=type(error).__name__)

    def coordinate(self) -> None:
        """Do what the rows ask for now, unless another call waits for its turn: its pass finds the same rows.

        Running it too often, or twice at once, does no harm.
        """
        ticket = self._pass_requests.enter()
        if ticket is None:
            return

        def do(work: UnitOfWork) -> None:
            # The coordinator's lock is held.
            self._pass_requests.begin(ticket)
            self._plan(work)

        try:
            self._repeat(lambda: self._once(do))
        finally:
            self._pass_requests.begin(ticket)

    def _repeat(self, transaction: Callable[[], Any], patience_s: float = 0.0) -> Any:
        """Run a transaction, again when a row changed under it or the database is away.

        The latter for `patience_s` seconds, and at least once more: a connection may have ended, and a new one works.

        Raises:
            DatabaseUnavailableError: It is still away.
        """
        give_up_at = monotonic() + patience_s
        attempt = 0
        while True:
            attempt += 1
            try:
                return transaction()
            except StalePlanError:
                if attempt >= _TRIES:
                    raise
                _log.warning("transaction.repeated", attempt=attempt)
            except DatabaseUnavailableError as error:
                if attempt > 1 and monotonic() >= give_up_at:
                    raise
                if attempt == 1:
                    _log.warning("transaction.waits-for-database", reason=error.reason)
                else:
                    sleep(min(_PAUSE_S, max(0.0, give_up_at - monotonic())))

    def _once(self, do: Callable[[UnitOfWork], Any]) -> Any:
        with unit_of_work(self._database, as_coordinator=True, tracer=self._tracer) as work:
            result = do(work)
        for event, fields in work.log_lines():
            _log.info(event, **fields)
        self._phase_spans.record(work)
        return result

    def _ask_controller(self, command: Command) -> ControllerState:
        if not COMMAND_SPECS[command.type].starts_work:
            return ControllerState()
        if self._dcmanager is not None:
            # It answers while the controller is asked.
            self._dcmanager.ask()
        try:
            state = ControllerState(
                is_upgrading=self._controller_check.is_upgrading(), releases=self._controller_check.releases()
            )
        except InspectionError as error:
            state = ControllerState(error=str(error))
        return self._ask_dcmanager(state)

    def _ask_dcmanager(self, state: ControllerState) -> ControllerState:
        if self._dcmanager is None:
            return state
        try:
            return replace(state, operations=self._dcmanager.read().operations)
        except InspectionError as error:
            return replace(state, operations_error=str(error))

    def _execute(self, work: UnitOfWork, command: Command, state: ControllerState) -> Answer:
        stored = work.connection.execute(select(commands).where(commands.c.id == command.id)).one_or_none()
        if stored is not None:
            if stored.digest != command.digest():
                conflict = Answer(status=HTTPStatus.CONFLICT, detail="This command id was used for another command.")
                record(work.connection, command, conflict, work.at)
                return conflict
            return Answer.model_validate(stored.answer)
        context = CommandContext(
            work=work,
            rules=self._rules,
            inspector=self._inspector,
            controller=state,
        )
        answer = self._handle(context, command)
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
            # Soon over: the same command may be tried again.
            record(work.connection, command, answer, work.at)
            return answer
        if answer.status == HTTPStatus.OK and COMMAND_SPECS[command.type].needs_planning:
            self._plan(work)
            if context.planned_body is not None:
                answer = Answer(status=HTTPStatus.OK, body=context.planned_body())
        work.connection.execute(
            insert(commands).values(
                id=command.id,
                type=command.type,
                digest=command.digest(),
                status=answer.status,
                answer=answer.model_dump(mode="json"),
                created_at=work.at,
            )
        )
        record(work.connection, command, answer, work.at, context.notes)
        return answer

    @staticmethod
    def _handle(context: CommandContext, command: Command) -> Answer:
        try:
            # A handler that raises half-way leaves nothing behind.
            with context.work.savepoint():
                body = _HANDLERS[command.type](context, command)
        except CommandRefusedError as error:
            return Answer(status=error.status, detail=error.detail)
        return Answer(status=HTTPStatus.OK, body=body)

    def _plan(self, work: UnitOfWork) -> None:
        """Plan and carry out until nothing is left to do."""
        writer = PlanWriter(work)
        now = work.turn_epoch
        for _round in range(_ROUNDS):
            actions = plan(load_snapshot(work.connection, now, self._rules.limits), now, self._rules.limits)
            actions = self._overdue.confirmed(actions)
            writer.carry_out(actions)
            if not any(action.unlocks for action in actions):
                return
        # A long row of stages may end without any run, one a round: go on in a transaction of its own.
        _log.info("plan.continues", rounds=_ROUNDS)
        work.enqueue("coordinate")


def _ids(command: Command) -> dict[str, str]:
    """Return what every line about a command says."""
    ids = {"command": command.id, "type": str(command.type)}
    if command.subject and command.type.startswith("subcloud."):
        ids["subcloud"] = command.subject
    return ids


def _strategy_of(command: Command, answer: Answer) -> dict[str, Any]:
    """Return the strategy that a command was about, from its answer."""
    if answer.status != HTTPStatus.OK or not command.type.startswith("strategy."):
        return {}
    return {"strategy": answer.body["id"]}


class LeaseExpiry:
    """Remembers passed leases, so that a run is taken away only when its lease was seen passed twice.

    A jump of the wall clock makes every lease look passed at once; a living worker renews its own within seconds, a
    dead one does not. `clock` gives seconds that never jump, `patience_s` how long a passed lease must stand unchanged.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, patience_s: float = _LEASE_PATIENCE_S) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._lock = Lock()
        self._first_seen: dict[tuple[int, float], float] = {}

    def confirmed(self, actions: Iterable[Action]) -> list[Action]:
        """Return the actions without those that expire a lease seen passed too recently."""
        now = self._clock()
        kept: list[Action] = []
        with self._lock:
            for action in actions:
                if isinstance(action, ExpireRun):
                    key = (action.run_id, action.lease_until)
                    if now - self._first_seen.setdefault(key, now) < self._patience_s:
                        continue
                    self._first_seen.pop(key)
                kept.append(action)
            self._forget_before(now - 10 * self._patience_s)
        return kept

    def _forget_before(self, moment: float) -> None:
        self._first_seen = {key: seen for key, seen in self._first_seen.items() if seen > moment}
