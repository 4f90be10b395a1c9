"""Roles of a process in an installation."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What one process does of an installation."""

    API = "api"
    COORDINATOR = "coordinator"
    WORKER = "worker"


ALL_ROLES: Final = frozenset(Role)
