"""Bound the connections of the listeners of a process by its limit of open files."""

from __future__ import annotations

import resource
from typing import Final

import structlog

from api.connections import ConnectionBounds
from service.roles import Role
from service.settings import Settings

_log = structlog.get_logger(__name__)

# Most connections where the settings name no number.
_USUAL: Final = 4000
# Connections of the monitoring listener, together and of one address.
MONITOR: Final = ConnectionBounds(total=64, per_address=32)
# Descriptors of every process: database, broker, logs, event loops, monitoring.
_OWN: Final = 300
# Of each playbook that runs, of each try of a webhook.
_PER_RUN: Final = 6
_WEBHOOK_TRIES: Final = 32
# Whatever is reserved, such a part of all descriptors is for callers.
_LEAST_PART: Final = 4


def api_bounds(settings: Settings, roles: frozenset[Role]) -> ConnectionBounds:
    """Return the bounds of the API's connections; logs a number of the settings that the descriptors do not allow."""
    room = _room(settings, roles)
    wanted = settings.max_connections or _USUAL
    total = min(wanted, room)
    if settings.max_connections is not None and total < wanted:
        _log.warning(
            "connections.bounded",
            max_connections=total,
            reason=f"PRESTAGER_MAX_CONNECTIONS is {wanted}; the limit of open files leaves room for {room}.",
            advice="Raise the limit: LimitNOFILE= in the unit, or ulimit -n.",
        )
    per_address = settings.max_connections_per_address or max(1, total // 2)
    return ConnectionBounds(total=total, per_address=min(per_address, total))


def _room(settings: Settings, roles: frozenset[Role]) -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _USUAL if settings.max_connections is None else settings.max_connections
    reserved = _OWN
    if Role.WORKER in roles:
        reserved += settings.slots * _PER_RUN + settings.inspections
    if Role.COORDINATOR in roles:
        reserved += settings.probe_concurrency + _WEBHOOK_TRIES
    return max(limit - reserved, limit // _LEAST_PART, 1)
