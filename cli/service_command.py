"""Reads the words that start a process of the service, without the library that reads all others.

That library takes 3 MB of a process, and one of the service runs for months.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from service.roles import ALL_ROLES, ProcessRole

# Of what processes of the service load, structlog draws tracebacks with it, 9 MB large, where it is installed; the
# service writes plain ones.
UNUSED: Final = ("rich",)

_ROLES: Final[Mapping[str, frozenset[ProcessRole]]] = {
    "up": ALL_ROLES,
    "api": frozenset({ProcessRole.API}),
    "coordinator": frozenset({ProcessRole.COORDINATOR}),
    "worker": frozenset({ProcessRole.WORKER}),
}
_SPLIT: Final = ("up", "--split")
# Settings that the options of a worker take the place of.
_OPTIONS: Final[Mapping[str, str]] = {"--slots": "slots", "--name": "worker_name", "--queues": "worker_queues"}


@dataclass(frozen=True, kw_only=True)
class ServiceWords:
    """Roles of a process, settings that its command line gives, and whether each role gets a process of its own."""

    roles: frozenset[ProcessRole]
    given: Mapping[str, int | str]
    is_split: bool = False


def read_words(words: Sequence[str]) -> ServiceWords | None:
    """Return what `prestager up`, `api`, `coordinator` or `worker` starts.

    None: they are another command, ask for a help, or are not plainly right; then `cli/up_command.py` reads them.
    """
    if not words or words[0] not in _ROLES:
        return None
    roles, given = _ROLES[words[0]], dict[str, int | str]()
    if tuple(words) == _SPLIT:
        return ServiceWords(roles=roles, given=given, is_split=True)
    names, values = words[1::2], words[2::2]
    if len(names) != len(values) or (names and words[0] != "worker"):
        return None
    for name, value in zip(names, values, strict=True):
        if name not in _OPTIONS or value.startswith("-") or (name == "--slots" and not value.isdecimal()):
            return None
        given[_OPTIONS[name]] = int(value) if name == "--slots" else value
    return ServiceWords(roles=roles, given=given)


@contextmanager
def lean_imports(unused: Iterable[str]) -> Iterator[None]:
    """Until the end of the block, have libraries not found as if they were not installed, and collect no garbage.

    Libraries that were loaded before stay. Modules make hardly any garbage, and looking for it takes a sixth of the
    time.
    """
    hidden = [name for name in unused if name not in sys.modules]
    # How Python marks a module that cannot be imported; mypy knows no such mark.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            del sys.modules[name]
