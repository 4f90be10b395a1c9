"""The small, explicit environment of a run; nothing of the worker's own environment leaks into it."""

from __future__ import annotations

import os

from runner.ansible_installation import AnsibleInstallation, set_environment
from runner.failure_file import FAILURES_VARIABLE
from runner.private_dir import PrivateDir
from runner.processes import MARKER, marker_value


def child_environment(*, worker: str, child_id: str, place: PrivateDir, ansible: AnsibleInstallation) -> dict[str, str]:
    """Return the whole environment of one child, and so of its playbook and local tasks; ansible-runner adds to it."""
    return {
        **ansible.environment(place.tmp),
        FAILURES_VARIABLE: str(place.failures_file),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place.control),
        MARKER: marker_value(worker, child_id),
    }


def join_trace(traceparent: str | None) -> None:
    """Have the playbook of this process know where it is in a trace, by the name that Ansible's own callback reads.

    By the order to start and not when the child is made: that was before there was a run for it.
    """
    if traceparent is not None:
        os.environ["TRACEPARENT"] = traceparent


def join_set(*, is_ours: bool) -> None:
    """Have the playbook of this process run as its set needs it; known no sooner than the order to start."""
    os.environ.update(set_environment(is_ours=is_ours))
