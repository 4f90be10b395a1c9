"""Roles of a process in an installation."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ProcessRole(StrEnum):
    """Roles of a process in an installation."""

    API = "api"
    COORDINATOR = "coordinator"
    WORKER = "worker"


ALL_ROLES: Final = frozenset(ProcessRole)
