"""The base of all exceptions of this program, and those of the state machines."""

from __future__ import annotations


class PrestagerError(Exception):
    """Base of the exceptions that this program defines; the message is a text for people."""


class IllegalTransitionError(PrestagerError):
    """The machine has no such transition from this state.

    Attributes:
        state: The state in which the trigger was fired.

        trigger: The name of the trigger.
    """

    def __init__(self, state: str, trigger: str) -> None:
        super().__init__(f"no transition {trigger!r} from state {state!r}")
        self.state = state
        self.trigger = trigger


class SelectorError(PrestagerError):
    """A selector or labels that are not allowed; the message says what is wrong, and in a selector where."""
