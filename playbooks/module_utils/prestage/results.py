"""Turns the outcome of a module's work into Ansible's answer; every prestage module ends here."""

import errno
import os
from typing import Any, Callable, Dict

from .errors import PrestageError
from .space import nearest_directory, readable


def report(module: Any, work: Callable[[], Dict[str, Any]]) -> None:
    """
    Run `work` and leave the module with its result or with one sentence.

    The arguments are not echoed back: a manifest would make every event some hundred kilobytes longer.
    """
    try:
        result = work()
    except PrestageError as error:
        module.fail_json(msg=str(error), failure_class=error.failure_class, invocation={})
    except OSError as error:
        kind = "space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "playbook"
        module.fail_json(msg=sentence(error), failure_class=kind, invocation={})
    else:
        module.exit_json(invocation={}, **result)


def sentence(error: OSError) -> str:
    """Say what the operating system refused, with the file and a next step."""
    place = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"No space left while writing {place}{_room(error.filename)}. Free some space and prestage again."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"No permission for {place}. Check its owner and mode, and that the playbook runs with become."
    return f"Cannot use {place}: {error.strerror or error}. Check the file system and prestage again."


def _room(path: Any) -> str:
    """Say how much is free where the file is, if it is known."""
    if not isinstance(path, str):
        return ""
    status = os.statvfs(nearest_directory(os.path.dirname(path)))
    return f" ({readable(status.f_bavail * status.f_frsize)} of {readable(status.f_blocks * status.f_frsize)} free)"
