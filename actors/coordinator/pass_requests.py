"""Requests for a pass of the coordinator: those that come before it begins share it."""

from __future__ import annotations

from threading import Lock


class PassRequests:
    """At most one pass is requested and has not begun, in a process; safe for threads.

    A caller of `enter` has committed what the pass is to find. The pass reads rows after its `begin`, and from then on
    the next caller enters one of its own: what is committed after a pass has begun is never left to it.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._ticket: object | None = None

    def enter(self) -> object | None:
        """Return a ticket for a pass that the caller makes; None when one is requested that serves the caller too."""
        with self._lock:
            if self._ticket is not None:
                return None
            self._ticket = ticket = object()
            return ticket

    def begin(self, ticket: object) -> None:
        """Serve no more callers: the pass begins to read rows, or is given up. Repeating it does nothing."""
        with self._lock:
            if self._ticket is ticket:
                self._ticket = None
