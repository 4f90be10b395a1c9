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
from actors.worker.dependencies import ControllerSoftware, WorkerDependencies
from actors.worker.result_writer import ResultWriter
from db.database import Database
from db.encryption import Sealer
from db.heartbeats import ProcessIdentity
from db.inventory import installation_id
from db.retention import Retention
from messages.events import event_source
from messages.process_info import program_version
from messages.queues import phases_of_queues
from monitoring.metrics import ProcessMetrics
from runner.controller_content import ControllerSurvey
from runner.interface import OnFinished, Runner
from runner.load_check import LoadCheck
from runner.playbook_readiness import PlaybookReadiness
from runner.playbook_set import PlaybookCheck
from runner.supervisor import Supervisor
from service.controller import ansible_installation, controller_layout, machine_id
from service.database import open_database, prepare_schema
from service.distributed import AmqpActors, AmqpMessages, amqp_relay
from service.embedded import EmbeddedActors, InProcessMessages
from service.errors import StartError
from service.heartbeat import ReportedProcess
from service.key_file import load_sealer
from service.periodic_thread import WebhookSenderThread
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from service.site_access import controller_check, dcmanager_operations, site_inspector, software_lister
from service.tracing import role_tracer
from sites.host_key_scan import ScanLimits
from statemachine.eligibility import EligibilityRules
from statemachine.snapshot import PlanLimits
from statemachine.states import PLAYBOOK_PHASES
from tracing.tracer import Tracer
from webhooks.http_client import WebhookClient
from webhooks.repository import WebhookRepository
from webhooks.sender import WebhookSender

_DAY_S: Final = 86400.0

RunnerFactory = Callable[[OnFinished], Runner]


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The parts of one process, built and not started."""

    settings: Settings
    database: Database
    sealer: Sealer
    actors: EmbeddedActors | AmqpActors
    # None in a process without a worker.
    runner: Runner | None
    metrics: ProcessMetrics
    # To be stopped last.
    tracer: Tracer


def build(
    settings: Settings, roles: frozenset[ProcessRole] = ALL_ROLES, runner_factory: RunnerFactory | None = None
) -> Installation:
    """Build one process; `runner_factory` takes the place of the Ansible supervisor.

    Without a broker one process does everything, and the caller holds `only_instance`.

    Raises:
        StartError: A setting makes a start impossible.
    """
    database = open_database(settings)
    prepare_schema(database)
    if settings.broker_url is None and roles != ALL_ROLES:
        raise StartError("Set PRESTAGER_BROKER_URL to run the parts as processes of their own, or use: prestager up")
    parts = _Parts(settings, database, load_sealer(settings), roles, has_ansible=runner_factory is None)
    if settings.broker_url is None:
        return parts.embedded(runner_factory or parts.supervisor)
    return parts.distributed(settings.broker_url.get_secret_value(), roles, runner_factory or parts.supervisor)


class _Parts:
    """Builds the parts of one process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        sealer: Sealer,
        roles: frozenset[ProcessRole] = ALL_ROLES,
        *,
        has_ansible: bool = True,
    ) -> None:
        self._settings = settings
        self._database = database
        self._sealer = sealer
        self._metrics = ProcessMetrics()
        self._inspector = site_inspector(settings)
        self._site_rules = EligibilityRules(simplex_only=not settings.allow_duplex)
        self._retention = Retention(
            history=timedelta(days=settings.retention_days), audit=timedelta(days=settings.audit_days)
        )
        # Two machines may have one host name; a worker takes back only what a process of its own machine left.
        self._owner = f"{settings.worker_name}@{machine_id()}/{uuid4()}"
        self._tracer = role_tracer(settings, roles, self._owner)
        self._layout = controller_layout(settings, database)
        # One for the whole process: its coordinator and its worker share what was asked.
        self._dcmanager = dcmanager_operations(settings, self._layout.origin)
        self._roles = roles
        self._has_ansible = has_ansible

    def embedded(self, factory: RunnerFactory) -> Installation:
        messages = InProcessMessages(self._database, self._owner, self._tracer)
        self._database.attach_relay(self._owner, messages.relay.wake)
        coordinator = self._coordinator()
        tools = self._tools()
        actors = EmbeddedActors(
            self._database, messages, coordinator, tools, self._retention, self._webhooks(), self._process()
        )
        return self._installation(actors, factory(actors.worker.finished))

    def distributed(self, url: str, roles: frozenset[ProcessRole], factory: RunnerFactory) -> Installation:
        with self._database.read() as connection:
            source = event_source(installation_id(connection))
        name = f"prestager {'+'.join(sorted(roles))} {self._settings.worker_name}"
        messages = AmqpMessages(url, name=name, source=source, tracer=self._tracer)
        relay = amqp_relay(self._database, messages, self._owner)
        self._database.attach_relay(self._owner, relay.wake)
        actors = AmqpActors(
            self._database,
            messages,
            relay=relay,
            retention=self._retention,
            coordinator=self._coordinator() if ProcessRole.COORDINATOR in roles else None,
            tools=self._tools() if ProcessRole.WORKER in roles else None,
            webhooks=self._webhooks() if ProcessRole.COORDINATOR in roles else None,
            process=self._process(),
        )
        return self._installation(actors, factory(actors.worker.finished) if ProcessRole.WORKER in roles else None)

    def supervisor(self, on_finished: OnFinished) -> Runner:
        return Supervisor(
            slots=self._settings.slots,
            worker=self._settings.worker_name,
            on_finished=on_finished,
            ansible=ansible_installation(self._settings),
        )

    def _installation(self, actors: EmbeddedActors | AmqpActors, runner: Runner | None) -> Installation:
        return Installation(
            settings=self._settings,
            database=self._database,
            sealer=self._sealer,
            actors=actors,
            runner=runner,
            metrics=self._metrics,
            tracer=self._tracer,
        )

    def _process(self) -> ReportedProcess:
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

    def _webhooks(self) -> WebhookSenderThread:
        settings = self._settings
        book = WebhookRepository(self._database, self._owner, settings.webhook_give_up_days * _DAY_S)

        def make() -> WebhookSender:
            receivers = WebhookClient(ca_file=settings.webhook_ca_file, allowed=settings.webhook_networks)
            return WebhookSender(book, self._sealer, receivers, self._metrics)

        return WebhookSenderThread(make)

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
