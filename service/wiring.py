"""One process of an installation, built from the settings."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import uuid4

from actors.coordinator.context import CoordinatorRules
from actors.coordinator.coordinator import Coordinator
from actors.coordinator.history_retention import PURGE_S, HistoryRetention
from actors.worker.dependencies import ControllerSoftware, WorkerDependencies
from actors.worker.result_writer import ResultWriter
from actors.worker.worker import StepWorker
from broker.outbox_relay import OutboxRelay
from db.database import Database
from db.encryption import Sealer
from db.heartbeats import ProcessIdentity
from db.inventory import installation_id
from db.retention import Retention
from messages.events import event_source
from messages.process_info import program_version
from messages.queues import phases_of_queues
from monitoring.metrics import ProcessMetrics
from playbook_sets.controller_content import ControllerSurvey
from playbook_sets.load_check import LoadCheck
from playbook_sets.playbook_readiness import PlaybookReadiness
from playbook_sets.playbook_set import PlaybookCheck
from runner.interface import OnFinished, Runner
from runner.supervisor import Supervisor
from service.controller import ansible_installation, controller_layout, machine_id
from service.database import open_database, prepare_schema
from service.errors import StartError
from service.heartbeat import Heartbeat, ReportedProcess
from service.key_file import load_sealer
from service.lifecycle import Lifecycle, Part
from service.messaging import AmqpMessaging, InProcessMessaging, Messaging, dramatiq_part
from service.periodic_thread import LOOK_S, PeriodicThread, WebhookSenderThread
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from service.site_access import controller_check, dcmanager_operations, site_inspector, software_lister
from service.worker_threads import WorkerThreads
from sites.host_key_scan import ScanLimits
from statemachine.eligibility import EligibilityRules
from statemachine.snapshot import PlanLimits
from statemachine.states import PLAYBOOK_PHASES
from tracing.collector import TracingUnavailableError, open_tracer, read_headers
from tracing.tracer import NULL_TRACER, Tracer
from webhooks.http_client import WebhookClient
from webhooks.repository import WebhookRepository
from webhooks.sender import WebhookSender

_DAY_S: Final = 86400.0
# Seconds between two looks at the rows that no message asked for.
_RECONCILE_S: Final = 4.0

RunnerFactory = Callable[[OnFinished], Runner]


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of an installation, built and not started. `database` and `tracer` are closed by the caller, last."""

    settings: Settings
    roles: frozenset[ProcessRole]
    database: Database
    sealer: Sealer
    messaging: Messaging
    # None in a process without that role.
    coordinator: Coordinator | None
    worker: StepWorker | None
    runner: Runner | None
    heartbeat: Heartbeat
    metrics: ProcessMetrics
    tracer: Tracer
    # Starts and stops everything but the API, the monitoring and the probes.
    lifecycle: Lifecycle


def build(
    settings: Settings,
    roles: frozenset[ProcessRole] = ALL_ROLES,
    runner_factory: RunnerFactory | None = None,
    *,
    consume: bool = True,
) -> Process:
    """Build one process; without a broker it does everything, and the caller holds `only_instance`.

    Args:
        settings: Read and checked.

        roles: The roles of the process.

        runner_factory: Takes the place of the Ansible supervisor.

        consume: False if the caller runs the Dramatiq worker: starts it afterwards and stops it before.

    Raises:
        StartError: A setting makes a start impossible.
    """
    database = open_database(settings)
    prepare_schema(database)
    if settings.broker_url is None and roles != ALL_ROLES:
        raise StartError("Set PRESTAGER_BROKER_URL to run the parts as processes of their own, or use: prestager up")
    builder = _Builder(settings, database, load_sealer(settings), roles, has_ansible=runner_factory is None)
    return builder.process(runner_factory or builder.supervisor, consume=consume)


class _Builder:
    """Builds the parts of one process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        sealer: Sealer,
        roles: frozenset[ProcessRole],
        *,
        has_ansible: bool,
    ) -> None:
        self._settings = settings
        self._database = database
        self._sealer = sealer
        self._metrics = ProcessMetrics()
        self._inspector = site_inspector(settings)
        self._site_rules = EligibilityRules(simplex_only=not settings.allow_duplex)
        # Two machines may have one host name; a worker takes back only what a process of its own machine left.
        self._owner = f"{settings.worker_name}@{machine_id()}/{uuid4()}"
        self._tracer = role_tracer(settings, roles, self._owner)
        self._layout = controller_layout(settings, database)
        # One for the whole process: its coordinator and its worker share what was asked.
        self._dcmanager = dcmanager_operations(settings, self._layout.origin)
        self._roles = roles
        self._has_ansible = has_ansible

    def process(self, runner_factory: RunnerFactory, *, consume: bool) -> Process:
        """Build the process; its parts differ by its roles and its messaging alone."""
        messaging, database = self._messaging(), self._database
        relay = PeriodicThread("outbox-relay", OutboxRelay(database, messaging.publish, self._owner).relay, LOOK_S)
        database.attach_relay(self._owner, relay.wake)
        coordinator = self._coordinator() if ProcessRole.COORDINATOR in self._roles else None
        tools = self._tools() if ProcessRole.WORKER in self._roles else None
        worker = StepWorker(tools) if tools is not None else None
        heartbeat = Heartbeat(database, self._reported_process(), worker)
        runner: Runner | None = None
        worker_threads: WorkerThreads | None = None
        if coordinator is not None:
            messaging.declare_coordinator(coordinator)
        if worker is not None and tools is not None:
            messaging.declare_worker(worker, tools, heartbeat.wake)
            runner = runner_factory(worker.finished)
            worker_threads = WorkerThreads(database, worker, tools, runner, heartbeat.wake)
        parts = [
            *messaging.connection_parts(),
            *(worker_threads.recovery_parts() if worker_threads else []),
            *messaging.event_parts(),
            # After the recovery: under a worker's name that is taken it would replace the row of the living worker.
            Part(name="heartbeat", start=heartbeat.start, stop=heartbeat.stop),
            *([self._webhooks()] if coordinator else []),
            # Before the worker: at the stop it publishes the runs that the worker hands over.
            relay.part(),
            *([worker_threads.part()] if worker_threads else []),
            *([dramatiq_part(messaging.broker)] if consume else []),
            *(self._coordinator_parts(coordinator) if coordinator else []),
        ]
        return Process(
            settings=self._settings,
            roles=self._roles,
            database=database,
            sealer=self._sealer,
            messaging=messaging,
            coordinator=coordinator,
            worker=worker,
            runner=runner,
            heartbeat=heartbeat,
            metrics=self._metrics,
            tracer=self._tracer,
            lifecycle=Lifecycle(parts),
        )

    def supervisor(self, on_finished: OnFinished) -> Runner:
        return Supervisor(
            slots=self._settings.slots,
            worker=self._settings.worker_name,
            on_finished=on_finished,
            ansible=ansible_installation(self._settings),
            preload=self._settings.preload,
            on_plain_start=self._metrics.started_plainly,
        )

    def _messaging(self) -> Messaging:
        if self._settings.broker_url is None:
            return InProcessMessaging(self._database, self._tracer)
        with self._database.read() as connection:
            source = event_source(installation_id(connection))
        name = f"prestager {'+'.join(sorted(self._roles))} {self._settings.worker_name}"
        url = self._settings.broker_url.get_secret_value()
        return AmqpMessaging(self._database, url, name=name, source=source, tracer=self._tracer)

    def _coordinator_parts(self, coordinator: Coordinator) -> list[Part]:
        kept = Retention(
            history=timedelta(days=self._settings.retention_days), audit=timedelta(days=self._settings.audit_days)
        )
        retention = HistoryRetention(self._database, kept)
        return [
            PeriodicThread("retention", retention.purge, PURGE_S).part(),
            PeriodicThread("reconciler", coordinator.coordinate, _RECONCILE_S).part(),
        ]

    def _reported_process(self) -> ReportedProcess:
        settings, is_worker = self._settings, ProcessRole.WORKER in self._roles
        identity = ProcessIdentity(
            process=self._owner,
            name=settings.worker_name,
            host=socket.gethostname(),
            version=program_version(),
            roles=tuple(sorted(self._roles)),
            queues=tuple(sorted(settings.served_queues)) if is_worker else (),
            slots=settings.slots if is_worker else None,
        )
        survey = ControllerSurvey(self._layout)
        return ReportedProcess(identity=identity, sealer=self._sealer, look=survey.look)

    def _coordinator(self) -> Coordinator:
        rules = CoordinatorRules(
            release=self._settings.release,
            site=self._site_rules,
            limits=PlanLimits(max_attempts=self._settings.max_attempts),
        )
        return Coordinator(
            self._database,
            self._inspector,
            rules,
            # The last try may take some seconds, and the caller must get its answer.
            patience_s=self._settings.command_timeout_s / 2,
            controller_check=controller_check(self._settings),
            dcmanager=self._dcmanager,
            metrics=self._metrics,
            tracer=self._tracer,
        )

    def _webhooks(self) -> Part:
        settings = self._settings
        repository = WebhookRepository(self._database, self._owner, settings.webhook_give_up_days * _DAY_S)

        def make() -> WebhookSender:
            receivers = WebhookClient(ca_file=settings.webhook_ca_file, allowed=settings.webhook_networks)
            return WebhookSender(repository, self._sealer, receivers, self._metrics)

        return WebhookSenderThread(make).part()

    def _playbooks(self, *, runs_playbooks: bool) -> PlaybookReadiness:
        settings = self._settings
        directory, loader = settings.playbooks_dir, None
        if runs_playbooks and self._has_ansible:
            loader = LoadCheck(directory, ansible_installation(settings), worker=settings.worker_name)
        return PlaybookReadiness(PlaybookCheck(directory), loader)

    def _tools(self) -> WorkerDependencies:
        phases = phases_of_queues(self._settings.served_queues)
        self._metrics.expect_runs(phases)
        return WorkerDependencies(
            database=self._database,
            inspector=self._inspector,
            dcmanager=self._dcmanager,
            sealer=self._sealer,
            results=ResultWriter(self._database, self._owner, self._metrics),
            metrics=self._metrics,
            layout=self._layout,
            playbooks=self._playbooks(runs_playbooks=not phases.isdisjoint(PLAYBOOK_PHASES)),
            rules=self._site_rules,
            host_keys=self._settings.host_keys,
            host_key_limits=ScanLimits(
                connect_s=self._settings.site_connect_timeout_s,
                deadline_s=self._settings.site_connect_timeout_s + self._settings.site_read_timeout_s,
            ),
            owner=self._owner,
            phases=phases,
            inspections=self._settings.inspections,
            software=ControllerSoftware(software_lister(self._settings), self._settings.release),
            tracer=self._tracer,
        )


def role_tracer(settings: Settings, roles: frozenset[ProcessRole], owner: str) -> Tracer:
    """Return the tracer of a process; `owner` is its unique name.

    Raises:
        StartError: Traces are wanted and the extra for them, or what it needs, is not there.
    """
    if settings.tracing == "off":
        return NULL_TRACER
    # Known by its role too: many processes are one service.
    resource = {
        "service.name": "prestager",
        "service.version": program_version(),
        "service.instance.id": owner,
        "prestager.role": "+".join(sorted(roles)),
    }
    try:
        return open_tracer(
            endpoint=settings.tracing_endpoint,
            headers=read_headers(settings.tracing_headers_file.read_text()) if settings.tracing_headers_file else {},
            ratio=settings.tracing_ratio,
            resource=resource,
        )
    except TracingUnavailableError as error:
        raise StartError(f"PRESTAGER_TRACING=otlp: {error}") from error
