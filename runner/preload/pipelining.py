"""Pipelining where a site allows it: a module goes into the connection, and no file of it is written at the site.

It saves three of four SSH clients for each module. A site whose sudo wants a terminal (`requiretty`) refuses it, so the
first module of a run that becomes another user is preceded by a trial: a short text goes the way that the module would
go. What comes of it counts for the run; nothing of the module has happened by then.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from runner.ansible_installation import PIPELINING_VARIABLE

_TEXT: Final = "prestager-trial"
# Ansible's words where sudo asks for no password and does not begin either.
_NO_ANSWER: Final = "privilege escalation"


def pipeline_after_trial(local_tmp: Path) -> None:
    """Have modules of this run pipelined over SSH where a trial succeeds; call it before the playbook begins.

    Does nothing where the configuration file says whether modules are pipelined; variables of a host win over this.
    `local_tmp` is a directory of this run alone.
    """
    from ansible import constants  # noqa: PLC0415
    from ansible.plugins.action import ActionBase  # noqa: PLC0415

    _, origin = constants.config.get_config_value_and_origin("pipelining", plugin_type="connection", plugin_name="ssh")
    if origin != "default":
        return
    os.environ[PIPELINING_VARIABLE] = "True"
    ActionBase._is_pipelining_enabled = _tried(ActionBase._is_pipelining_enabled, local_tmp)  # noqa: SLF001


def _tried(is_enabled: Callable[..., bool], place: Path) -> Callable[..., bool]:
    @wraps(is_enabled)
    def is_enabled_and_works(action: Any, module_style: str, wrap_async: bool = False) -> bool:  # noqa: FBT001, FBT002
        return is_enabled(action, module_style, wrap_async) and _works(action, place)

    return is_enabled_and_works


def _works(action: Any, place: Path) -> bool:
    """Return whether text gets through to the other user; each task has a process of its own, so a file remembers."""
    become = action._connection.become  # noqa: SLF001
    if become is None:
        return True
    verdict = place / f"pipelining-{_way(action, become)}"
    if not verdict.exists():
        verdict.write_text(str(_passes(action)), encoding="utf-8")
    return verdict.read_text(encoding="utf-8") == str(True)


def _way(action: Any, become: Any) -> str:
    connection = action._connection  # noqa: SLF001
    names = ("become_user", "become_exe", "become_flags")
    options = [become.name, *(action.get_become_option(name) for name in names)]
    target = [connection.get_option(name) for name in ("host", "port", "remote_user")]
    return sha256(repr((connection.transport, target, options)).encode()).hexdigest()[:16]


def _passes(action: Any) -> bool:
    from ansible.errors import AnsibleConnectionFailure  # noqa: PLC0415

    try:
        answer = action._low_level_execute_command("cat", in_data=_TEXT.encode())  # noqa: SLF001
    except AnsibleConnectionFailure as error:
        if _NO_ANSWER not in str(error):
            raise
        return False
    return bool(answer["rc"] == 0 and answer["stdout"].strip() == _TEXT)
