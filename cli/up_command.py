"""`prestager up`: the service."""

from __future__ import annotations

import os

import structlog

from cli.checks import doubts, start_faults
from cli.configuration import read_settings, unknown_variables
from cli.errors import CommandError
from cli.logs import configure_logs
from cli.serve import serve

_log = structlog.get_logger(__name__)


def up() -> None:
    """Run the service: API, coordinator and playbooks in one process, until SIGTERM or SIGINT.

    Settings come from PRESTAGER_* variables, see: prestager config show
    """
    settings = read_settings()
    faults = start_faults(settings)
    if faults:
        raise CommandError("The service cannot start; correct what is listed and try again.", faults)
    configure_logs(settings.log_format, settings.log_level)
    for doubt in (*unknown_variables(os.environ), *doubts(settings)):
        _log.warning("settings.doubt", doubt=doubt)
    serve(settings)
