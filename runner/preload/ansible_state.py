"""State of a loaded Ansible: fill its caches once before processes are forked, renew in each what must not be shared.

Reaches into ansible-core, of which the version is pinned. A trial run (trial_run.py) checks the result at each start.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import multiprocessing.util
import os
import random
import secrets
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# Variables of Ansible that differ between runs of one template; the constants made from them are renewed in each run.
PER_RUN: Final = frozenset(
    {"ANSIBLE_LOCAL_TEMP", "ANSIBLE_SSH_CONTROL_PATH_DIR", "ANSIBLE_CACHE_PLUGIN_CONNECTION"},
)
# Other variables that Ansible evaluates when it is imported.
_FROZEN: Final = frozenset({"HOME", "LANG", "LC_ALL", "PYTHONPATH", "ORIGINAL_STDOUT_CALLBACK"})

_PLUGINS_OF_EVERY_RUN: Final = ("connection", "shell", "become", "callback", "cache", "strategy")
_INVENTORY_PLUGINS: Final = ("yaml",)
_ACTIONS: Final = ("debug", "normal", "command", "copy", "template", "set_fact", "assert", "fail", "set_stats")


def differs(template: Mapping[str, str], run: Mapping[str, str]) -> str | None:
    """Return the name of a variable that a forked run could not take over; None: it can be forked.

    `template` is the environment in which Ansible was imported, `run` the one that the run is to have.
    """
    names = (name for name in {*template, *run} if name.startswith("ANSIBLE_") or name in _FROZEN)
    return next((name for name in sorted(names) if name not in PER_RUN and template.get(name) != run.get(name)), None)


def prime() -> None:
    """Import what a playbook run imports and parse what it parses; no playbook is run.

    Four fifths of what a forked run would cost is YAML: the routing of built-in plugins, and the documentation of each
    plugin that is loaded. Changes no state that Ansible sets once per process, but for the collection loader.
    """
    import ansible.cli.playbook  # noqa: PLC0415
    import ansible.executor.module_common  # noqa: PLC0415
    import ansible.executor.process.worker  # noqa: PLC0415
    import ansible.executor.task_executor  # noqa: PLC0415
    import ansible.playbook.handler  # noqa: F401, PLC0415
    from ansible.plugins import loader  # noqa: PLC0415
    from ansible.vars.plugins import _prime_vars_loader  # noqa: PLC0415

    loader.init_plugin_loader()
    importlib.import_module("ansible_collections.ansible.builtin")

    for kind in _PLUGINS_OF_EVERY_RUN:
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    # Those of variables are not looked for again once they were, so all that a run would take must be there.
    _prime_vars_loader()
    for name in _INVENTORY_PLUGINS:
        loader.inventory_loader.get(name)
    for name in _ACTIONS:
        loader.action_loader.get(name, class_only=True)
    list(loader.filter_loader.all())
    list(loader.test_loader.all())
    _close_log_files()


def plugin_places() -> list[str]:
    """Return the directories outside of Ansible from which it loads plug-ins, whether or not they exist."""
    import ansible.plugins  # noqa: PLC0415
    from ansible.plugins import loader  # noqa: PLC0415

    home = str(Path(ansible.__file__).parent)
    loaders = [value for value in vars(loader).values() if isinstance(value, loader.PluginLoader)]
    places = {str(place) for each in loaders for place in each.config or ()}
    return sorted(place for place in places if not place.startswith(home))


def _close_log_files() -> None:
    # Opened again by the first line that a run logs, for a run closes what it has inherited.
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream is not None:
            handler.stream.close()
            handler.stream = None


def renew(template: Mapping[str, str]) -> None:
    """Renew in a forked run the state that was made for the template; `os.environ` is the run's own by now.

    `template` is the environment in which Ansible was imported.
    """
    # The exit functions of the template would remove its files.
    atexit._clear()  # noqa: SLF001
    atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]  # noqa: SLF001
    tempfile.tempdir = None
    random.seed()
    # Made known by the template; a run makes it known again.
    warnings.filterwarnings("ignore", message="AnsibleCollectionFinder has already been configured")
    _renew_constants({name for name in PER_RUN if template.get(name) != os.environ.get(name)})
    _renew_task_ids()
    _renew_display()


def local_tmp() -> Path:
    """Return the directory of temporary files of this process's run."""
    from ansible import constants  # noqa: PLC0415

    return Path(constants.DEFAULT_LOCAL_TMP)


def _renew_constants(changed: set[str]) -> None:
    from ansible import constants  # noqa: PLC0415

    for name, definition in constants.config.get_configuration_definitions().items():
        if any(entry.get("name") in changed for entry in definition.get("env") or ()):
            value = constants.config.get_config_value(name, variables=vars(constants))
            constants.set_constant(name, value)


def _renew_task_ids() -> None:
    # Each id of a task begins with it; all forked runs would have the same ids.
    from ansible.utils import vars as task_ids  # noqa: PLC0415

    task_ids.random_int = f"{secrets.randbelow(2**32):08x}"
    task_ids.cur_id = 0


def _renew_display() -> None:
    from ansible.utils.display import Display  # noqa: PLC0415

    # Of the run's own terminal.
    Display()._set_column_width()  # noqa: SLF001
    # ansible-runner's callback keeps the directory of its run in a global.
    callback: Any = sys.modules.get("ansible.plugins.callback.awx_display")
    if callback is not None:
        callback.event_context = callback.EventContext()
