"""Runs a process of the service with the settings of this machine."""

from __future__ import annotations

import os

import structlog

from monitoring.logging import configure_logs
from service.load_settings import unknown_variables
from service.process import serve
from service.roles import ProcessRole
from service.startup_checks import doubts, startable_settings

_log = structlog.get_logger(__name__)


def serve_roles(roles: frozenset[ProcessRole], **given: int | str) -> None:
    """Run a process of the service until SIGTERM or SIGINT.

    Args:
        roles: The roles of the process.

        given: Settings by their names, which count before what file and environment say.

    Raises:
        CommandError: A setting makes a start impossible; every fault is listed.
        StartError: It cannot start; nothing was changed but the schema.
    """
    settings = startable_settings(**given)
    configure_logs(settings.log_format, settings.log_level)
    for doubt in (*unknown_variables(os.environ), *doubts(settings, listens=ProcessRole.API in roles)):
        _log.warning("settings.doubt", doubt=doubt)
    serve(settings, roles)
