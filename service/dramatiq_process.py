"""A coordinator and worker under Dramatiq's own command line, which then is the one that consumes.

`prestager coordinator` and `prestager worker` do the same without it. One process only (`-p 1`): a second one would be
another worker of the same name, and Dramatiq stops all its processes when one ends.
"""

from __future__ import annotations

import dramatiq
import structlog
from dramatiq import Broker, Middleware, Worker

from monitoring.logging import configure_logs
from runner.capacity import raise_descriptor_limit
from runner.errors import NoRunRootError, ProcessesLeftError, WorkerNameTakenError
from runner.process_limits import forbid_memory_dumps
from service.distributed import AmqpActors
from service.error_sentences import error_sentence
from service.roles import ProcessRole
from service.startup_checks import startable_settings
from service.wiring import Installation, build

_log = structlog.get_logger(__name__)

_ROLES = frozenset({ProcessRole.COORDINATOR, ProcessRole.WORKER})


class ProcessLife(Middleware):
    """Starts what moves beside the actors when Dramatiq's process is up, and stops it after the last message."""

    def __init__(self, installation: Installation, actors: AmqpActors) -> None:
        self._installation = installation
        self._actors = actors

    def after_process_boot(self, broker: Broker) -> None:
        """Begin; Dramatiq consumes as soon as this returns.

        Raises:
            SystemExit: Playbooks cannot be run here; the text says why.
        """
        del broker
        try:
            self._actors.start(self._installation.runner, consume=False)
        except (WorkerNameTakenError, NoRunRootError, ProcessesLeftError) as error:
            raise SystemExit(
                f"Playbooks cannot be run: {error}. One process runs as one worker: use -p 1, and set"
                " PRESTAGER_WORKER_NAME where several run on one machine."
            ) from error
        _log.info("service.ready", roles=sorted(_ROLES))

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Stop running playbooks and record them as handed over."""
        del broker, worker
        self._actors.stop()
        self._installation.tracer.stop()
        self._installation.database.close()
        _log.info("service.stopped")


def set_up() -> None:
    """Build everything from the settings and make its broker the one that Dramatiq finds.

    Raises:
        SystemExit: A setting makes a start impossible; the text says which, and holds no value.
    """
    forbid_memory_dumps()
    try:
        settings = startable_settings()
        configure_logs(settings.log_format, settings.log_level)
        raise_descriptor_limit()
        installation = build(settings, _ROLES)
    except Exception as error:
        said = error_sentence(error)
        if said is None:
            raise
        sentence, faults = said
        # Without the cause, whose words are a library's.
        raise SystemExit("\n".join([*faults, f"Error: {sentence}"])) from None
    if not isinstance(installation.actors, AmqpActors):
        raise TypeError("a process with some of the roles has RabbitMQ's actors")
    broker = installation.actors.broker
    broker.add_middleware(ProcessLife(installation, installation.actors))
    dramatiq.set_broker(broker)
