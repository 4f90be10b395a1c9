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
from service.error_sentences import error_sentence
from service.lifecycle import freeze_heap
from service.roles import ProcessRole
from service.startup_checks import startable_settings
from service.wiring import Process, build

_log = structlog.get_logger(__name__)

_ROLES = frozenset({ProcessRole.COORDINATOR, ProcessRole.WORKER})


class ProcessLife(Middleware):
    """Starts the parts of the process before Dramatiq consumes, and stops them after the last message."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def after_process_boot(self, broker: Broker) -> None:
        """Begin; Dramatiq consumes as soon as this returns.

        Raises:
            SystemExit: Playbooks cannot be run here; the text says why.
        """
        del broker
        try:
            self._process.lifecycle.start()
        except (WorkerNameTakenError, NoRunRootError, ProcessesLeftError) as error:
            raise SystemExit(
                f"Playbooks cannot be run: {error}. One process runs as one worker: use -p 1, and set"
                " PRESTAGER_WORKER_NAME where several run on one machine."
            ) from error
        freeze_heap()
        _log.info("service.ready", roles=sorted(_ROLES))

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        """Stop running playbooks and record them as handed over."""
        del broker, worker
        self._process.lifecycle.stop()
        self._process.tracer.stop()
        self._process.database.close()
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
        process = build(settings, _ROLES, consume=False)
    except Exception as error:
        said = error_sentence(error)
        if said is None:
            raise
        sentence, faults = said
        # Without the cause, whose words are a library's.
        raise SystemExit("\n".join([*faults, f"Error: {sentence}"])) from None
    broker = process.messaging.broker
    broker.add_middleware(ProcessLife(process))
    dramatiq.set_broker(broker)
