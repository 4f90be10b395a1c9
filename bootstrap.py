"""Build everything from the settings: the one place that knows all parts. Nothing connects before it is started."""

from __future__ import annotations

import fcntl
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from actors.coordinator import Coordinator
from actors.desk import CoordinatorRules
from actors.embedded import EmbeddedActors, InProcessMessages
from actors.reports import Reporter
from actors.worker import WorkerTools
from db.engine import Database
from db.inventory import installation_id
from db.migrate import current_revision, head_revision, upgrade
from db.sealing import KEY_BYTES, Sealer
from runner.inspectors import DeclaredInspector
from runner.jobs import OnFinished, Runner
from runner.phases import ControllerLayout
from runner.supervisor import Supervisor
from settings import Settings
from statemachine.eligibility import Rules
from statemachine.snapshot import Limits
from statemachine.states import StepState

_KEY_FILE: Final = "secret.key"
_LOCK_FILE: Final = "prestager.lock"

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
    """Bring an embedded installation's schema up to date."""
    if current_revision(database) != head_revision():
        upgrade(database)


def load_sealer(settings: Settings) -> Sealer:
    """Return the sealer with the installation's key; an embedded one makes its key at the first start.

    Raises:
        StartError: The key is not 32 bytes in base64.
    """
    if settings.secret_key is not None:
        return _sealer(settings.secret_key.get_secret_value(), "PRESTAGER_SECRET_KEY")
    path = settings.secret_key_file or settings.data_dir / _KEY_FILE
    if settings.secret_key_file is None and not path.exists():
        _make_key(path)
    try:
        return _sealer(path.read_text(), str(path))
    except OSError as error:
        raise StartError(f"The secret key in {path} cannot be read: {error.strerror}.") from error


def _make_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    # Whole or not at all: a crash must not leave half a key that later seals passwords.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b64encode(os.urandom(KEY_BYTES)))
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)


def _sealer(text: str, source: str) -> Sealer:
    try:
        return Sealer(b64decode(text.strip(), validate=True))
    except ValueError as error:
        raise StartError(
            f"{source} must hold {KEY_BYTES} bytes in base64; make one with: openssl rand -base64 32"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """An embedded installation, built and not started."""

    settings: Settings
    database: Database
    sealer: Sealer
    actors: EmbeddedActors
    runner: Runner


def build_embedded(settings: Settings, runner_factory: RunnerFactory | None = None) -> Embedded:
    """Build the service of one process; `runner_factory` takes the place of the Ansible supervisor.

    The caller holds `only_instance`.

    Raises:
        StartError: A setting makes a start impossible.
    """
    database = open_database(settings)
    prepare_schema(database)
    sealer = load_sealer(settings)
    inspector = DeclaredInspector()
    site_rules = Rules(simplex_only=not settings.allow_duplex)
    messages = InProcessMessages(database)
    rules = CoordinatorRules(
        release=settings.release, site=site_rules, limits=Limits(max_attempts=settings.max_attempts)
    )
    owner = f"{settings.worker_name}/{uuid4()}"
    tools = WorkerTools(
        database=database,
        inspector=inspector,
        sealer=sealer,
        reporter=Reporter(database, owner, messages.relay.wake),
        layout=controller_layout(settings, database),
        rules=site_rules,
        owner=owner,
    )
    coordinator = Coordinator(database, inspector, rules, messages.relay.wake)
    actors = EmbeddedActors(database, messages, coordinator, tools)
    factory = runner_factory or (
        lambda on_finished: Supervisor(slots=settings.slots, worker=settings.worker_name, on_finished=on_finished)
    )
    return Embedded(
        settings=settings,
        database=database,
        sealer=sealer,
        actors=actors,
        runner=factory(actors.worker.finished),
    )


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
