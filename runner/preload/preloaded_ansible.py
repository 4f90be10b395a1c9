"""Keep a template process for the runs of one supervisor: start it, exchange it, do without it. In the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Final

from runner.ansible_installation import AnsibleInstallation, set_environment
from runner.errors import TemplateError
from runner.load_fingerprint import ansible_fingerprint
from runner.preload.client import ForkedProcess, Template
from runner.private_dir import PrivateDir, child_id, private_dir
from runner.processes import MARKER, RUN_OPTION, TEMPLATE_OPTION, marker_value

_log = logging.getLogger(__name__)

# Forks of one template: what a library leaks in it, or its memory loses to fragments, ends with it.
_MOST_FORKS: Final = 1_000
# Pause before another template is tried after one that did not load, in seconds.
_RETRY_S: Final = 60.0


class PreloadedAnsible:
    """Forks children of runs from a process that has loaded Ansible.

    Args:
        worker: Name of the worker installation.

        run_root: Directory in which the template gets a private directory.

        ansible: The Ansible to load; it is of this program's own environment.

        on_fallback: Called for each child that has to be started in the plain way.
    """

    def __init__(
        self,
        *,
        worker: str,
        run_root: Path,
        ansible: AnsibleInstallation,
        on_fallback: Callable[[], None] = lambda: None,
    ) -> None:
        self._worker = worker
        self._run_root = run_root
        self._ansible = ansible
        self._is_ours = True
        self._on_fallback = on_fallback
        self._lock = asyncio.Lock()
        self._template: Template | None = None
        # With the directory of the modules that their runs build: templates of one Ansible share it.
        self._templates: dict[Template, PrivateDir] = {}
        self._places: list[PrivateDir] = []
        # All such directories, the one for the next template, and what its modules are built by.
        self._built: set[PrivateDir] = set()
        self._modules: PrivateDir | None = None
        self._modules_of = ""
        self._loaded = ""
        self._not_before = 0.0

    def expect(self, *, is_ours: bool) -> None:
        """Load Ansible for runs of our set, or of others: variables that it reads when it is imported differ."""
        self._is_ours = is_ours

    async def fork(
        self, *, marker: str, arguments: Sequence[str], environment: Mapping[str, str], pipes: Sequence[int]
    ) -> ForkedProcess | None:
        """Return a forked child that has `pipes` as standard input, output and error; None: start it plainly."""
        # Twice: a template that was killed is found dead by the first.
        for _ in range(2):
            template = await self._usable()
            if template is None:
                break
            try:
                return await template.fork(marker=marker, arguments=arguments, environment=environment, pipes=pipes)
            except TemplateError as error:
                _log.warning("a template process is given up: %s", error)
        else:
            self._not_before = monotonic() + _RETRY_S
        self._on_fallback()
        return None

    async def close(self) -> None:
        """End all templates; the children must have ended."""
        async with self._lock:
            self._template = None
            for template in self._templates:
                await template.end()
            self._templates.clear()
            # Those that were killed have left their directories.
            for place in (*self._places, *self._built):
                place.remove()
            self._places.clear()
            self._built.clear()
            self._modules = None

    async def _usable(self) -> Template | None:
        """Return a template of the Ansible as it is now; start one if need be."""
        async with self._lock:
            template = self._template
            self._forget_ended()
            if template is not None:
                if self._is_current(template):
                    return template
                template.close()
                self._template = None
            if monotonic() < self._not_before:
                return None
            return await self._start()

    def _forget_ended(self) -> None:
        """Forget templates that have ended, and remove the modules of which no template is left."""
        self._templates = {old: modules for old, modules in self._templates.items() if not old.has_ended}
        in_use = {self._modules, *self._templates.values()}
        for place in self._built - in_use:
            place.remove()
        self._built &= in_use

    def _is_current(self, template: Template) -> bool:
        is_young = template.is_usable and template.forks < _MOST_FORKS
        return is_young and self._state(template.watched) == self._loaded

    def _state(self, watched: Sequence[Path] = ()) -> str:
        """Return a digest of everything that a template has loaded."""
        return f"{self._is_ours} {ansible_fingerprint(self._ansible, watched)}"

    async def _start(self) -> Template | None:
        before = self._state()
        place = private_dir(self._run_root, self._worker, child_id())
        modules = self._modules_built_by(before)
        try:
            place.create()
            self._places.append(place)
            template = Template(
                self._arguments(place, modules),
                self._environment(place),
                self._ansible.niceness,
                on_end=self._forget_ended,
            )
            self._templates[template] = modules
            await template.start()
        except (OSError, TemplateError) as error:
            place.remove()
            self._not_before = monotonic() + _RETRY_S
            _log.warning("Ansible is not preloaded, each run loads it: %s", error)
            return None
        # Changed while it was loading: the next fork finds that it is not current.
        is_changed = self._state() != before
        self._template, self._loaded = template, "" if is_changed else self._state(template.watched)
        if is_changed:
            # Of which of both its modules are is not known.
            self._modules_of = ""
        return template

    def _modules_built_by(self, state: str) -> PrivateDir:
        """Return the directory for built modules: that of the template before if it had loaded the same."""
        if self._modules is None or state != self._modules_of:
            self._modules = private_dir(self._run_root, self._worker, child_id())
            self._modules_of = state
            self._built.add(self._modules)
        return self._modules

    def _arguments(self, place: PrivateDir, modules: PrivateDir) -> list[str]:
        return [
            *("--private-dir", str(place.path)),
            *("--modules", str(modules.path)),
            *("--ansible-playbook", str(self._ansible.program)),
            *(TEMPLATE_OPTION, self._worker),
            *(RUN_OPTION, self._place_holder()),
            *(["--has-our-config"] if self._ansible.has_our_config else []),
            *(["--tries-pipelining"] if self._ansible.pipelining is None else []),
        ]

    def _environment(self, place: PrivateDir) -> dict[str, str]:
        return {
            **self._ansible.environment(place.tmp),
            **set_environment(is_ours=self._is_ours),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place.control),
            MARKER: self._place_holder(),
        }

    def _place_holder(self) -> str:
        """Return a value of the length of a child's marker, which is no marker."""
        return "0" * len(marker_value(self._worker, child_id()))
