"""Place of the archive that a run brings to a site: one file per run, so that no two runs share one."""

import os
import re

from .files import is_regular, require_no_link

# The playbooks say these names too: nothing that a site answers becomes part of a path there.
DIRECTORY = ".prestage-incoming"
# The longer ones are what a killed transfer of Ansible leaves.
NAME = re.compile(r"(\.ansible_tmp[A-Za-z0-9_]+)?[0-9a-f]{32}\.tar\Z")


def incoming_path(backup_dir: str, run: str) -> str:
    """Return the place for the archive of a run, in a directory that exists."""
    directory = os.path.join(backup_dir, DIRECTORY)
    require_no_link(directory)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return os.path.join(directory, run + ".tar")


def remove_incoming(backup_dir: str, keep: str) -> None:
    """
    Remove what runs brought, except the archive of the run `keep`; call it under the lock of the site.

    Only files with a name that `incoming_path` makes are removed.

    Raises:
        PrestageError: The directory is a symbolic link.
    """
    directory = os.path.join(backup_dir, DIRECTORY)
    require_no_link(directory)
    if not os.path.isdir(directory):
        return
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if NAME.match(name) and is_regular(path) and (not keep or name != keep + ".tar"):
            os.unlink(path)
    if not os.listdir(directory):
        os.rmdir(directory)
