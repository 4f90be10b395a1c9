"""Build everything from the settings: the one place that knows all parts. Nothing connects before it is started."""

from __future__ import annotations

import fcntl
import os
import socket
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import uuid4

from actors.amqp.processes import AmqpActors, AmqpMessages, amqp_relay
from actors.coordinator import Coordinator
from actors.declare import QUEUE_OF
from actors.desk import CoordinatorRules
from actors.embedded import EmbeddedActors, InProcessMessages
from actors.loop import Loop
from actors.probe_targets import Aim, aim_sysinv, aim_tcp
from actors.reports import Reporter
from actors.webhooks.book import Book
from actors.webhooks.receivers import Receivers
from actors.webhooks.sender import WebhookSender
from actors.webhooks.sending import Sending
from actors.worker import WorkerTools
from db.dispatch import ACTOR_OF_PHASE
from db.engine import Database
from db.inventory import installation_id
from db.migrate import current_revision, head_revision, known_revisions, upgrade
from db.retention import Retention
from db.sealing import KEY_BYTES, Sealer
from messages.events import source_of
from messages.program import program_version
from monitoring.meters import ProcessMeters
from runner.controller_checks import ControllerCheck, DeclaredOnly
from runner.inspectors import DeclaredInspector, Inspector
from runner.jobs import OnFinished, Runner
from runner.phases import ControllerLayout
from runner.supervisor import Supervisor
from runner.sysinv.addresses import SiteAddresses
from runner.sysinv.controller import AskedController
from runner.sysinv.inspector import SysinvInspector
from runner.sysinv.login import Account, TokenStore, Trust
from runner.sysinv.session import Access, Address, Patience
from settings import Settings
from statemachine.eligibility import Rules
from statemachine.snapshot import Limits
from statemachine.states import StepState
from tracing.collector import read_headers
from tracing.opening import TracingUnavailableError, open_tracer
from tracing.tracer import UNTRACED, Tracer

_LOCK_FILE: Final = "prestager.lock"

_DAY_S: Final = 86400.0

# How long a probe of either kind may take, in seconds.
_TCP_PROBE_S: Final = 5.0
_SYSINV_PROBE_S: Final = 30.0
_SHORT_PATIENCE: Final = Patience(connect_s=2.0, read_s=4.0, pause_s=0.5)

RunnerFactory = Callable[[OnFinished], Runner]


class StartError(Exception):
    """The service cannot start; the message says what is wrong and what to do."""


@contextmanager
def only_instance(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for this process; the lock goes with the process, however it dies.

    Raises:
        StartError: Another process holds it.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / _LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartError(
                f"Another Prestager uses {data_dir}. Stop it, or set PRESTAGER_DATA_DIR to another directory."
            ) from error
        yield


def open_database(settings: Settings) -> Database:
    """Return the store; SQLite's directory is made when it is missing."""
    if settings.database_url is None:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Database(settings.store_url)


def prepare_schema(database: Database) -> None:
    """Bring the schema up to date; parts that start together do so in turn, and once.

    Raises:
        StartError: The schema is of a newer program than this one.
    """
    revision = current_revision(database)
    if revision == head_revision():
        return
    if revision is not None and revision not in known_revisions():
        raise StartError(
            f"The database is at revision {revision}, which this program does not know: a newer one has upgraded it."
            f" Start that one, or let it run: prestager db downgrade {head_revision()}"
        )
    upgrade(database)


def load_sealer(settings: Settings) -> Sealer:
    """Return the sealer with the installation's key; an embedded one makes its key at the first start.

    Raises:
        StartError: The key is not 32 bytes in base64.
    """
    if settings.secret_key is not None:
        return _sealer(settings.secret_key.get_secret_value(), "PRESTAGER_SECRET_KEY")
    path = settings.key_path
    if settings.secret_key_file is None and not path.exists():
        _make_key(path)
    try:
        return _sealer(path.read_text(), str(path))
    except OSError as error:
        raise StartError(f"The secret key in {path} cannot be read: {error.strerror}.") from error


def _make_key(path: Path) -> None:
    """Make the key's file, unless another process that starts now is quicker; then its key is the installation's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whole or not at all: a crash must not leave half a key that later seals passwords.
    draft = path.with_name(f"{path.name}.{uuid4().hex}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b64encode(os.urandom(KEY_BYTES)))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never takes the place of what is there.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sealer(text: str, source: str) -> Sealer:
    try:
        return Sealer(b64decode(text.strip(), validate=True))
    except ValueError as error:
        raise StartError(
            f"{source} must hold {KEY_BYTES} bytes in base64; make one with: openssl rand -base64 32"
        ) from error


class Role(StrEnum):
    """What one process does of an installation."""

    API = "api"
    COORDINATOR = "coordinator"
    WORKER = "worker"


ALL_ROLES: Final = frozenset(Role)


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The parts of one process, built and not started."""

    settings: Settings
    database: Database
    sealer: Sealer
    actors: EmbeddedActors | AmqpActors
    # None in a process without a worker.
    runner: Runner | None
    meters: ProcessMeters
    # To be stopped last.
    tracer: Tracer


def build(
    settings: Settings, roles: frozenset[Role] = ALL_ROLES, runner_factory: RunnerFactory | None = None
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
    parts = _Parts(settings, database, load_sealer(settings), roles)
    if settings.broker_url is None:
        return parts.embedded(runner_factory or parts.supervisor)
    return parts.distributed(settings.broker_url.get_secret_value(), roles, runner_factory or parts.supervisor)


class _Parts:
    """Builds the parts of one process."""

    def __init__(
        self, settings: Settings, database: Database, sealer: Sealer, roles: frozenset[Role] = ALL_ROLES
    ) -> None:
        self._settings = settings
        self._database = database
        self._sealer = sealer
        self._meters = ProcessMeters()
        self._inspector = _inspector(settings)
        self._site_rules = Rules(simplex_only=not settings.allow_duplex)
        self._retention = Retention(
            history=timedelta(days=settings.retention_days), audit=timedelta(days=settings.audit_days)
        )
        # Two machines may have one host name; a worker takes back only what a process of its own machine left.
        self._owner = f"{settings.worker_name}@{machine_id()}/{uuid4()}"
        self._tracer = _open_tracer(settings, roles, self._owner)

    def embedded(self, factory: RunnerFactory) -> Installation:
        messages = InProcessMessages(self._database, self._owner, self._tracer)
        coordinator = self._coordinator(messages.relay)
        tools = self._tools(messages.relay)
        actors = EmbeddedActors(self._database, messages, coordinator, tools, self._retention, self._webhooks())
        return self._installation(actors, factory(actors.worker.finished))

    def distributed(self, url: str, roles: frozenset[Role], factory: RunnerFactory) -> Installation:
        with self._database.read() as connection:
            source = source_of(installation_id(connection))
        name = f"prestager {'+'.join(sorted(roles))} {self._settings.worker_name}"
        messages = AmqpMessages(url, name=name, source=source, tracer=self._tracer)
        relay = amqp_relay(self._database, messages, self._owner)
        actors = AmqpActors(
            self._database,
            messages,
            relay=relay,
            retention=self._retention,
            coordinator=self._coordinator(relay) if Role.COORDINATOR in roles else None,
            tools=self._tools(relay) if Role.WORKER in roles else None,
            webhooks=self._webhooks() if Role.COORDINATOR in roles else None,
        )
        return self._installation(actors, factory(actors.worker.finished) if Role.WORKER in roles else None)

    def supervisor(self, on_finished: OnFinished) -> Runner:
        return Supervisor(slots=self._settings.slots, worker=self._settings.worker_name, on_finished=on_finished)

    def _installation(self, actors: EmbeddedActors | AmqpActors, runner: Runner | None) -> Installation:
        return Installation(
            settings=self._settings,
            database=self._database,
            sealer=self._sealer,
            actors=actors,
            runner=runner,
            meters=self._meters,
            tracer=self._tracer,
        )

    def _coordinator(self, relay: Loop) -> Coordinator:
        rules = CoordinatorRules(
            release=self._settings.release,
            site=self._site_rules,
            limits=Limits(max_attempts=self._settings.max_attempts),
        )
        return Coordinator(
            self._database,
            self._inspector,
            rules,
            relay.wake,
            self._owner,
            controller_check=_controller_check(self._settings),
            meters=self._meters,
            tracer=self._tracer,
        )

    def _webhooks(self) -> Sending:
        settings = self._settings
        book = Book(self._database, self._owner, settings.webhook_give_up_days * _DAY_S)

        def make() -> WebhookSender:
            receivers = Receivers(ca_file=settings.webhook_ca_file, allowed=settings.webhook_networks)
            return WebhookSender(book, self._sealer, receivers, self._meters)

        return Sending(make)

    def _tools(self, relay: Loop) -> WorkerTools:
        return WorkerTools(
            database=self._database,
            inspector=self._inspector,
            sealer=self._sealer,
            reporter=Reporter(self._database, self._owner, relay.wake, self._meters),
            meters=self._meters,
            layout=controller_layout(self._settings, self._database),
            rules=self._site_rules,
            owner=self._owner,
            phases=phases_of(self._settings.served_queues),
            inspections=self._settings.inspections,
            tracer=self._tracer,
        )


def _open_tracer(settings: Settings, roles: frozenset[Role], owner: str) -> Tracer:
    if settings.tracing == "off":
        return UNTRACED
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


def phases_of(queues: Collection[str]) -> frozenset[StepState]:
    """Return the phases that a worker of these queues carries out."""
    return frozenset(phase for phase, actor in ACTOR_OF_PHASE.items() if QUEUE_OF[actor] in queues)


def _inspector(settings: Settings) -> Inspector:
    if settings.inspector == "declared":
        return DeclaredInspector()
    return SysinvInspector(
        site_access(settings),
        site_addresses(settings),
        deadline_s=settings.precheck_deadline_s,
        allow_duplex=settings.allow_duplex,
    )


def site_access(settings: Settings) -> Access:
    """Return how sites are asked.

    Raises:
        StartError: There is no password for them.
    """
    password = settings.site_password.get_secret_value() if settings.site_password else settings.site_password_file
    if password is None:
        raise StartError("Set PRESTAGER_SITE_PASSWORD_FILE: sites are asked with the password in it.")
    return Access(
        account=Account(
            username=settings.site_username,
            password=password,
            project=settings.site_project,
            user_domain=settings.site_user_domain,
            project_domain=settings.site_project_domain,
        ),
        trust=Trust(settings.site_ca_file),
        patience=Patience(connect_s=settings.site_connect_timeout_s, read_s=settings.site_read_timeout_s),
        tokens=TokenStore(),
    )


def site_addresses(settings: Settings) -> SiteAddresses:
    """Return where sites are asked."""
    return SiteAddresses(
        keystone_port=settings.site_keystone_port, sysinv_port=settings.site_sysinv_port, file=settings.site_urls_file
    )


def probe_aim(settings: Settings) -> Aim:
    """Return what the availability probe asks of sites.

    Raises:
        StartError: Sites are to be asked and there is no password for them.
    """
    if settings.probe_kind == "tcp":
        return aim_tcp(settings.probe_timeout_s or _TCP_PROBE_S)
    access = site_access(settings)
    # The next round is the next try.
    access = replace(access, patience=replace(access.patience, tries=1))
    return aim_sysinv(access, site_addresses(settings), settings.probe_timeout_s or _SYSINV_PROBE_S)


def _controller_check(settings: Settings) -> ControllerCheck:
    if settings.controller_asked is None:
        return DeclaredOnly()
    return AskedController(*controller_access(settings), settings.controller_asked)


def controller_access(settings: Settings) -> tuple[Access, Address]:
    """Return how and where the system controller is asked; what is not set of its account is as for sites.

    Raises:
        StartError: A URL or the password is missing.
    """
    keystone, service = settings.controller_keystone_url, settings.controller_url
    if keystone is None or service is None:
        raise StartError(
            "Set PRESTAGER_CONTROLLER_KEYSTONE_URL and PRESTAGER_CONTROLLER_URL: the system controller is asked there"
            " whether it is being upgraded. Or set PRESTAGER_CONTROLLER_CHECK=declared."
        )
    own: dict[str, object] = {"site_username": settings.controller_username or settings.site_username}
    if settings.controller_password or settings.controller_password_file:
        own["site_password"] = settings.controller_password
        own["site_password_file"] = settings.controller_password_file
    access = site_access(settings.model_copy(update=own))
    # Somebody waits for the answer to a command: all tries together fit into the few seconds that there are.
    return replace(access, patience=_SHORT_PATIENCE), Address(keystone_url=keystone, service_url=service)


def machine_id() -> str:
    """Return what tells this machine from others: a digest of its machine id, or of its host name."""
    try:
        own = Path("/etc/machine-id").read_text().strip()
    except OSError:
        own = ""
    return sha256((own or socket.gethostname()).encode()).hexdigest()[:12]


def controller_layout(settings: Settings, database: Database) -> ControllerLayout:
    """Return where things are on this controller."""
    with database.read() as connection:
        origin = installation_id(connection)
    return ControllerLayout(
        playbooks_dir=settings.playbooks_dir.resolve(),
        deploy_dir=settings.deploy_dir.resolve(),
        feed_dir=settings.feed_dir.resolve(),
        ssh_user=settings.ssh_user,
        origin=origin,
        deadlines_s={
            StepState.PREPARE: settings.prepare_deadline_s,
            StepState.PACKAGES: settings.packages_deadline_s,
            StepState.IMAGES: settings.images_deadline_s,
        },
    )
