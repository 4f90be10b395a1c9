"""Ways to tell whether the system controller is busy upgrading, beyond what the operator declares."""

from __future__ import annotations

from typing import Protocol


class ControllerCheck(Protocol):
    """Tells whether the system controller is busy upgrading."""

    def is_upgrading(self) -> bool:
        """Return whether it is. Takes a few seconds at most; callable from any thread, never inside a transaction.

        Raises:
            InspectionError: It could not be told.
        """

    def releases(self) -> tuple[str, ...] | None:
        """Return the releases (MM.mm) that the controller has, oldest first; None: it is not asked for them.

        Takes a few seconds at most; callable from any thread, never inside a transaction.

        Raises:
            InspectionError: It could not be told.
        """


class DeclaredOnly:
    """Leaves it to the operator's declaration."""

    def is_upgrading(self) -> bool:
        """Return False: nobody is asked."""
        return False

    def releases(self) -> tuple[str, ...] | None:
        """Return None: nobody is asked."""
        return None
