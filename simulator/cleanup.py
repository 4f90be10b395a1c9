"""Ends what was started on simulated sites and outlived its connection."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psutil

_SITE: Final = "FLEET_SITE"
_END_S: Final = 5.0


def end_commands(directory: Path) -> int:
    """Kill every process that was started on a site below `directory`, and return how many there were.

    Found by the environment that every command of a site has; a process that cleared it is not found.
    """
    found = [process for process in psutil.process_iter() if _is_on_site(process, directory)]
    for process in found:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, timeout=_END_S)
    return len(found)


def _is_on_site(process: psutil.Process, directory: Path) -> bool:
    try:
        site = process.environ().get(_SITE)
    except (psutil.Error, OSError):
        return False
    return site is not None and Path(site).is_relative_to(directory)
