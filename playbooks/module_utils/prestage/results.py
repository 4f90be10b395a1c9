"""Turns the outcome of a module's work into Ansible's answer; every prestage module ends here."""

import errno
from typing import Any, Callable, Dict

from .errors import PrestageError


def report(module: Any, work: Callable[[], Dict[str, Any]]) -> None:
    """
    Run `work` and leave the module with its result or with one sentence.

    The arguments are not echoed back: a manifest would make every event some hundred kilobytes longer.
    """
    try:
        result = work()
    except PrestageError as error:
        module.fail_json(msg=str(error), invocation={})
    except OSError as error:
        module.fail_json(msg=sentence(error), invocation={})
    else:
        module.exit_json(invocation={}, **result)


def sentence(error: OSError) -> str:
    """Say what the operating system refused, with the file and a next step."""
    place = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return f"No space left while writing {place}. Free some space and prestage again."
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"No permission for {place}. Check its owner and mode, and that the playbook runs with become."
    return f"Cannot use {place}: {error.strerror or error}. Check the file system and prestage again."
