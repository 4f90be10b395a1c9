"""This machine: settings, playbooks, room on disk and in memory. Changes nothing but the empty directory for runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cli.doctor.finding import Finding, fail, ok, warn
from runner.capacity import RUN_BYTES, available_bytes, default_slots
from runner.errors import NoRunRootError
from runner.private_dir import default_run_root
from service.controller import ansible_installation, playbook_load_error
from service.load_settings import unknown_variables
from service.settings import Settings
from service.startup_checks import doubts, start_faults

_MIB: Final = 1024 * 1024
_GIB: Final = 1024 * _MIB
# The embedded database grows with every strategy, and a full disk stops it.
_LITTLE_BYTES: Final = _GIB
_TOO_LITTLE_BYTES: Final = 100 * _MIB
# A run's private files are about 200 KiB; facts and long inventories may be more.
_RUN_FILES_BYTES: Final = _MIB


def settings_findings(settings: Settings) -> Iterator[Finding]:
    """Check what the settings name, playbooks among it."""
    faults = start_faults(settings)
    if not faults:
        yield ok("settings", f"complete; all playbooks are in {settings.playbooks_dir}.")
        yield _playbooks(settings)
    yield from (fail("settings", fault) for fault in faults)
    yield from (warn("settings", doubt) for doubt in (*unknown_variables(os.environ), *doubts(settings)))
    if settings.broker_url is not None and settings.secret_key is None and settings.secret_key_file is None:
        yield warn(
            "secret key",
            f"{settings.key_path} is used. Parts with other data directories would seal with other keys: give all of"
            " them the same PRESTAGER_SECRET_KEY_FILE.",
        )


def _playbooks(settings: Settings) -> Finding:
    error = playbook_load_error(settings)
    if error is not None:
        return fail("playbooks", f"{error} Until they load no playbook is started here.")
    return ok("playbooks", f"{ansible_installation(settings).program} loads them.")


def room_findings(settings: Settings) -> Iterator[Finding]:
    """Check the room for data, for the files of runs, and for the processes of runs."""
    if settings.sqlalchemy_url.startswith("sqlite"):
        yield _data_room(settings.data_dir)
    else:
        yield ok("data room", "the database is on a server; nothing that grows is kept here.")
    yield _run_room(settings.slots)
    yield _memory(settings.slots)


def _data_room(data_dir: Path) -> Finding:
    nearest = next(place for place in (data_dir.absolute(), *data_dir.absolute().parents) if place.exists())
    free = shutil.disk_usage(nearest).free
    text = f"{free / _GIB:.1f} GiB free at {nearest}"
    if free < _TOO_LITTLE_BYTES:
        return fail("data room", f"{text}; make room, or set PRESTAGER_DATA_DIR to another disk.")
    if free < _LITTLE_BYTES:
        return warn("data room", f"{text}; make room before it is full.")
    return ok("data room", f"{text}.")


def _run_room(slots: int) -> Finding:
    try:
        directory = default_run_root()
    except NoRunRootError as error:
        return fail("run room", f"{error}; mount a /dev/shm that this user can write.")
    free = shutil.disk_usage(directory).free
    text = f"{free / _MIB:.0f} MiB free at {directory} for {slots} runs"
    if free < slots * _RUN_FILES_BYTES:
        return warn("run room", f"{text}; enlarge it, or lower PRESTAGER_SLOTS.")
    return ok("run room", f"{text}.")


def _memory(slots: int) -> Finding:
    needed, free, fitting = slots * RUN_BYTES, available_bytes(), default_slots()
    text = f"{slots} slots, {needed / _GIB:.1f} GiB when all are taken; {free / _GIB:.1f} GiB are available"
    if needed > free:
        return warn("slots", f"{text}: playbooks will wait for memory. Lower PRESTAGER_SLOTS (worker) or add memory.")
    if slots > fitting:
        return warn("slots", f"{text}, but the cores bear about {fitting}: playbooks will be slow to start.")
    return ok("slots", f"{text}.")
