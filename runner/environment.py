"""The small, explicit environment of a run; nothing of the worker's own environment leaks into it."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

from runner.failure_file import FAILURES_VARIABLE
from runner.private_dir import PrivateDir
from runner.processes import MARKER, marker_value
from runner.ssh_arguments import CONFIG

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CALLBACKS = Path(__file__).with_name("callback_plugins")


def base_environment() -> dict[str, str]:
    """Return what every program gets that we run for a site.

    HOME is the user's real one: ssh keys, collections and registry logins are there.
    """
    return {
        "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOME": pwd.getpwuid(os.getuid()).pw_dir,
    }


def child_environment(*, worker: str, child_id: str, place: PrivateDir) -> dict[str, str]:
    """Return the whole environment of one child, and so of its playbook and local tasks."""
    return {
        **base_environment(),
        "TMPDIR": str(place.tmp),
        "ANSIBLE_CONFIG": str(CONFIG),
        # ansible-runner adds its own.
        "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
        FAILURES_VARIABLE: str(place.failures_file),
        "ANSIBLE_LOCAL_TEMP": str(place.tmp),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place.control),
        MARKER: marker_value(worker, child_id),
    }


def join_trace(traceparent: str | None) -> None:
    """Have the playbook of this process know where it is in a trace, by the name that Ansible's own callback reads.

    By the order to start and not when the child is made: that was before there was a run for it.
    """
    if traceparent is not None:
        os.environ["TRACEPARENT"] = traceparent


def keep_facts_apart() -> None:
    """Have Ansible put the facts that a site answers into `ansible_facts` only, not among the variables."""
    os.environ["ANSIBLE_INJECT_FACT_VARS"] = "False"
