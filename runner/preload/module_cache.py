"""Modules of Ansible as it sends them to sites, built once and shared by the runs of a playbook.

Building one takes a seventh of a second: it is packed with everything that it imports. Only modules of ansible-core
itself are shared, and only where nothing but ansible-core can have been packed with them. Modules of a playbook set and
of collections are built in each run.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from runner.load_fingerprint import set_fingerprint

# Names that Ansible gives to files of built modules (ansible.executor.module_common).
_CACHE: Final = "ansiballz_cache"
_OF_ANSIBLE: Final = "ansible.modules."
_UNFINISHED: Final = (".lock", "-part")


class ModuleCache:
    """The built modules of one playbook, in a directory that is made when there is one to keep.

    Args:
        place: Directory of the template process, whose Ansible has built them.

        playbook: Absolute path.

        local_tmp: Directory in which Ansible looks for modules that it has built in this run.
    """

    def __init__(self, place: Path, playbook: Path, local_tmp: Path) -> None:
        self._playbook = playbook
        self._state = self._digest()
        self._shared = place / self._state
        self._own = local_tmp / _CACHE

    def offer(self) -> None:
        """Put the shared modules where the run finds them; call it before the playbook begins."""
        with suppress(OSError):
            names = os.listdir(self._shared)  # noqa: PTH208
            self._own.mkdir(mode=0o700, exist_ok=True)
            for name in names:
                _link(self._shared / name, self._own / name)

    def keep(self) -> None:
        """Share what this run has built; call it when the playbook is over. Nothing is, where anything has changed."""
        with suppress(OSError):
            names = [name for name in os.listdir(self._own) if _is_shared(name)]  # noqa: PTH208
            known = set(os.listdir(self._shared)) if self._shared.is_dir() else set()  # noqa: PTH208
            new = [name for name in names if name not in known]
            if not new or _packs_others() or self._digest() != self._state:
                return
            for directory in (self._shared.parent, self._shared):
                directory.mkdir(mode=0o700, exist_ok=True)
            for name in new:
                _link(self._own / name, self._shared / name)

    def _digest(self) -> str:
        text = f"{self._playbook} {set_fingerprint(self._playbook.parent)}"
        return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _is_shared(name: str) -> bool:
    return name.startswith(_OF_ANSIBLE) and not name.endswith(_UNFINISHED)


def _link(source: Path, target: Path) -> None:
    # Another run may have been quicker; files are written whole and never changed.
    with suppress(FileExistsError):
        target.hardlink_to(source)


def _packs_others() -> bool:
    """Return whether code of others may have been packed with modules in this run: their `module_utils`."""
    import ansible  # noqa: PLC0415
    from ansible.plugins.loader import module_utils_loader  # noqa: PLC0415

    home = Path(ansible.__file__).parent
    places = map(Path, module_utils_loader.print_paths().split(os.pathsep))
    return any(place.is_dir() and not place.is_relative_to(home) for place in places)
