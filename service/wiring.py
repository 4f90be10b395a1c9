"""One process of an installation, built from the settings.

The modules of a role, and of RabbitMQ, are loaded by the processes that have it: they take 10 to 20 MB each.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from broker.outbox_relay import OutboxRelay
from db.database import Database
from db.encryption import Sealer
from db.heartbeats import ProcessIdentity
from db.inventory import installation_id
from messages.events import event_source
from messages.process_info import program_version
from monitoring.metrics import ProcessMetrics
from playbook_sets.controller_content import ControllerSurvey
from playbook_sets.phase_playbooks import ControllerLayout
from runner.interface import OnFinished, Runner
from service.controller import controller_layout, machine_id
from service.database import open_database, prepare_schema
from service.errors import StartError
from service.heartbeat import Heartbeat, ReportedProcess
from service.key_file import load_sealer
from service.lifecycle import Lifecycle, Part
from service.messaging import InProcessMessaging, Messaging, dramatiq_part, relay_part
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from service.site_access import dcmanager_operations, site_inspector
from sites.inspector import Inspector
from statemachine.eligibility import EligibilityRules
from tracing.collector import TracingUnavailableError, open_tracer, read_headers
from tracing.tracer import NULL_TRACER, Tracer

if TYPE_CHECKING:
    from actors.coordinator.coordinator import Coordinator
    from actors.worker.worker import StepWorker
    from service.worker_role import WorkerRole
    from sites.dcmanager import DcmanagerOperations

RunnerFactory = Callable[[OnFinished], Runner]


@dataclass(frozen=True, kw_only=True)
class ProcessResources:
    """Objects that all roles of a process share. `owner` is its unique name."""

    settings: Settings
    roles: frozenset[ProcessRole]
    database: Database
    sealer: Sealer
    metrics: ProcessMetrics
    inspector: Inspector
    site_rules: EligibilityRules
    owner: str
    tracer: Tracer
    layout: ControllerLayout
    # None: dcmanager is not asked. Coordinator and worker of one process share what was asked.
    dcmanager: DcmanagerOperations | None


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
    if roles != ALL_ROLES:
        require_broker(settings)
    return _Builder(_resources(settings, database, roles)).process(runner_factory, consume=consume)


def require_broker(settings: Settings) -> None:
    """Refuse settings with which processes of single roles cannot work together.

    Raises:
        StartError: They name no broker.
    """
    if settings.broker_url is None:
        raise StartError("Set PRESTAGER_BROKER_URL to run the parts as processes of their own, or use: prestager up")


def _resources(settings: Settings, database: Database, roles: frozenset[ProcessRole]) -> ProcessResources:
    # Two machines may have one host name; a worker takes back only what a process of its own machine left.
    owner = f"{settings.worker_name}@{machine_id()}/{uuid4()}"
    layout = controller_layout(settings, database)
    return ProcessResources(
        settings=settings,
        roles=roles,
        database=database,
        sealer=load_sealer(settings),
        metrics=ProcessMetrics(),
        inspector=site_inspector(settings),
        site_rules=EligibilityRules(simplex_only=not settings.allow_duplex),
        owner=owner,
        tracer=role_tracer(settings, roles, owner),
        layout=layout,
        dcmanager=dcmanager_operations(settings, layout.origin),
    )


class _Builder:
    """Builds the parts of one process."""

    def __init__(self, resources: ProcessResources) -> None:
        self._resources = resources

    def process(self, runner_factory: RunnerFactory | None, *, consume: bool) -> Process:
        """Build the process; its parts differ by its roles and its messaging alone."""
        resources, messaging = self._resources, self._messaging()
        database = resources.database
        relay = OutboxRelay(database, messaging.publish, resources.owner)
        database.attach_relay(resources.owner, relay.take)
        coordinator, first_parts, last_parts = self._coordinator(messaging)
        worker = self._worker(runner_factory)
        heartbeat = Heartbeat(database, self._reported_process(), worker.worker if worker else None)
        threads = worker.threads(heartbeat.wake) if worker else None
        if worker:
            messaging.declare_worker(worker.worker, worker.dependencies, heartbeat.wake)
        parts = [
            *messaging.connection_parts(),
            *(threads.recovery_parts() if threads else []),
            *messaging.event_parts(),
            # After the recovery: under a worker's name that is taken it would replace the row of the living worker.
            Part(name="heartbeat", start=heartbeat.start, stop=heartbeat.stop),
            *first_parts,
            # Before the worker: at the stop it publishes the runs that the worker hands over.
            relay_part(relay),
            *([threads.part()] if threads else []),
            *([dramatiq_part(messaging.broker)] if consume else []),
            *last_parts,
        ]
        return Process(
            settings=resources.settings,
            roles=resources.roles,
            database=database,
            sealer=resources.sealer,
            messaging=messaging,
            coordinator=coordinator,
            worker=worker.worker if worker else None,
            runner=worker.runner if worker else None,
            heartbeat=heartbeat,
            metrics=resources.metrics,
            tracer=resources.tracer,
            lifecycle=Lifecycle(parts),
        )

    def _messaging(self) -> Messaging:
        resources, settings = self._resources, self._resources.settings
        if settings.broker_url is None:
            return InProcessMessaging(resources.database, resources.tracer)
        from service.amqp_messaging import AmqpMessaging  # noqa: PLC0415 - see the module

        with resources.database.read() as connection:
            source = event_source(installation_id(connection))
        name = f"prestager {'+'.join(sorted(resources.roles))} {settings.worker_name}"
        url = settings.broker_url.get_secret_value()
        return AmqpMessaging(resources.database, url, name=name, source=source, tracer=resources.tracer)

    def _coordinator(self, messaging: Messaging) -> tuple[Coordinator | None, list[Part], list[Part]]:
        """Return the coordinator, and the parts that start before the consumers and after them."""
        resources = self._resources
        if ProcessRole.COORDINATOR not in resources.roles:
            return None, [], []
        from service.coordinator_role import build_coordinator, periodic_parts, webhook_part  # noqa: PLC0415

        coordinator = build_coordinator(resources)
        messaging.declare_coordinator(coordinator)
        return coordinator, [webhook_part(resources)], periodic_parts(resources, coordinator)

    def _worker(self, runner_factory: RunnerFactory | None) -> WorkerRole | None:
        if ProcessRole.WORKER not in self._resources.roles:
            return None
        from service.worker_role import WorkerRole  # noqa: PLC0415 - see the module

        return WorkerRole(self._resources, runner_factory)

    def _reported_process(self) -> ReportedProcess:
        resources, settings = self._resources, self._resources.settings
        is_worker = ProcessRole.WORKER in resources.roles
        identity = ProcessIdentity(
            process=resources.owner,
            name=settings.worker_name,
            host=socket.gethostname(),
            version=program_version(),
            roles=tuple(sorted(resources.roles)),
            queues=tuple(sorted(settings.served_queues)) if is_worker else (),
            slots=settings.slots if is_worker else None,
        )
        survey = ControllerSurvey(resources.layout)
        return ReportedProcess(identity=identity, sealer=resources.sealer, look=survey.look)


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
