"""Errors of playbook runs."""

from __future__ import annotations

from pathlib import Path

from statemachine.errors import PrestagerError


class SshArgumentsError(PrestagerError, ValueError):
    """The connection variables of a site are no arguments of ssh; the message says which."""


class NoFreeSlotError(PrestagerError):
    """All playbook slots of this worker are taken; leave the run queued."""


class WorkerNameTakenError(PrestagerError, RuntimeError):
    """Another living supervisor uses this worker name; each would kill the other's runs as leftovers."""


class ProcessesLeftError(PrestagerError):
    """Some processes survived SIGKILL: they hang in the kernel, or belong to another user."""


class NoUnstagePlaybookError(PrestagerError):
    """The set of playbooks removes no staged release."""

    def __init__(self, directory: Path, playbook: str) -> None:
        super().__init__(
            f"The playbooks in {directory} remove no staged release: {playbook} is missing there,"
            " or they are not Prestager's. Remove the release at the site, then say so with POST"
            " /v1.0/subclouds/NAME/staged."
        )


class SiteAddressError(PrestagerError):
    """A site would be looked for at this machine; the message says so."""


class NoRunRootError(PrestagerError):
    """No directory for private run files: one belongs to another user, or none can be written and has room."""


class TemplateError(PrestagerError):
    """The template process did not load, or forks no more; the text says why. Start the child in the plain way."""


class TrialRunError(PrestagerError):
    """The trial run of a loaded Ansible did not go as in a process of its own."""
