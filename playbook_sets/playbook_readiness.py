"""Whether the playbooks of this process can be run: checked in the background, asked for before each run.

`check` may take minutes and belongs to a thread of its own. `obstacle` takes milliseconds: it compares names, times and
sizes of files, so that a set that was changed is checked again before another run is begun with it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Final, Protocol

from playbook_sets.playbook_set import PlaybookCheck
from runner.errors import NoRunRootError, ProcessesLeftError

BEING_CHECKED: Final = "The playbooks are being checked."
# Seconds after which a set with an error is loaded again though no file changed that is looked at: what was missing may
# have come elsewhere.
_RETRY_S: Final = 120.0
# Seconds for which a look at the files holds for a playbook that is to be started, and for those who only ask: one look
# at StarlingX's 1,600 files takes 17 ms of a core.
_FRESH_S: Final = 0.5
_LOOSE_S: Final = 5.0
# Doubters that are remembered.
_MOST_DOUBTERS: Final = 10_000


class SetLoader(Protocol):
    """Loads the set with Ansible; `LoadCheck` does it."""

    def fingerprint(self) -> str:
        """Return a digest of all that decides whether the set loads."""

    def first_error(self, *, again: bool = False) -> str | None:
        """Return the first error in a sentence, None without one; `again`: though it is known that the set loaded."""

    def stop(self) -> None:
        """End a check that goes on, and make no more."""


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    # Of the files as they were before they were looked at.
    fingerprint: str
    # Empty: no error.
    error: str
    # When Ansible loaded the set, by a monotonic clock in seconds; None: it did not come to that.
    loaded_at: float | None


class PlaybookReadiness:
    """The last verdict about a set of playbooks. Callable from any thread.

    Args:
        files: The check without Ansible, made first and at every time.

        loader: Loads the set with Ansible; None where no Ansible runs playbooks: then there is never an obstacle.

        clock: Monotonic time, in seconds.
    """

    def __init__(
        self, files: PlaybookCheck, loader: SetLoader | None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._files = files
        self._loader = loader
        self._clock = clock
        self._checking = Lock()
        self._verdict: _Verdict | None = None
        self._is_doubted = False
        self._doubting = Lock()
        # Who has doubted, the latest last.
        self._doubters: dict[Hashable, None] = {}
        # The fingerprint of now, and when it was taken.
        self._now: tuple[float, str] | None = None
        # Called when the set is to be checked.
        self.wanted: Callable[[], None] = lambda: None

    @property
    def error(self) -> str | None:
        """The first error; empty: none. None: the set has not been checked yet."""
        verdict = self._verdict
        return None if verdict is None else verdict.error

    def check(self) -> bool:
        """Check the set, with Ansible only where there is need; return whether `error` is another than before."""
        with self._checking:
            before = self._verdict
            self._verdict = self._checked(before)
            return before is None or before.error != self._verdict.error

    def obstacle(self, *, is_asked_only: bool = False) -> str | None:
        """Return why no playbook is to be started now, in a sentence; None: nothing stands against it.

        The files were looked at within the last half second, or 5 s for those who only ask and start none.
        """
        within_s = _LOOSE_S if is_asked_only else _FRESH_S
        if self._loader is None:
            return None
        verdict = self._verdict
        if verdict is None or self._is_doubted or verdict.fingerprint != self._fingerprint(self._loader, within_s):
            self.wanted()
            return BEING_CHECKED
        return verdict.error or None

    def doubt(self, doubter: Hashable) -> bool:
        """Have the set loaded once more, whatever its files say.

        False: that was done a moment ago, or is never, or `doubter` has doubted before: what fails again and again
        with a set that loads has another reason.
        """
        verdict = self._verdict
        if self._loader is None or verdict is None or self._is_fresh(verdict):
            return False
        with self._doubting:
            if doubter in self._doubters:
                return False
            self._doubters[doubter] = None
            if len(self._doubters) > _MOST_DOUBTERS:
                del self._doubters[next(iter(self._doubters))]
        self._is_doubted = True
        self.wanted()
        return True

    def stop(self) -> None:
        """End a check that goes on, and make no more."""
        if self._loader is not None:
            self._loader.stop()

    def _checked(self, before: _Verdict | None) -> _Verdict:
        loader = self._loader
        # Taken first: what changes while it is looked at has another.
        current = "" if loader is None else loader.fingerprint()
        # An error in a file answers the doubt too; else there would be a check after the other, and none would tell it.
        is_doubted, self._is_doubted = self._is_doubted, False
        error = self._files.first_error()
        if error is not None or loader is None:
            return _Verdict(fingerprint=current, error=error or "", loaded_at=None)
        if before is not None and before.fingerprint == current and not is_doubted and self._holds(before):
            return before
        found = _first_error(loader, again=is_doubted)
        return _Verdict(fingerprint=current, error=found or "", loaded_at=self._clock())

    def _holds(self, verdict: _Verdict) -> bool:
        return verdict.loaded_at is not None and (not verdict.error or self._is_fresh(verdict))

    def _is_fresh(self, verdict: _Verdict) -> bool:
        return verdict.loaded_at is not None and self._clock() - verdict.loaded_at < _RETRY_S

    def _fingerprint(self, loader: SetLoader, within_s: float) -> str:
        now = self._now
        if now is None or self._clock() - now[0] >= within_s:
            now = self._now = (self._clock(), loader.fingerprint())
        return now[1]


def _first_error(loader: SetLoader, *, again: bool) -> str | None:
    try:
        return loader.first_error(again=again)
    except (NoRunRootError, ProcessesLeftError) as error:
        return f"The playbooks cannot be checked: {error}."
    except OSError as error:
        return f"The playbooks cannot be checked: {error.strerror}. It is tried again."
