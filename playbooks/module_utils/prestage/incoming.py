"""Where a run puts the archive that it brings to a site: one file per run, so that no two runs share one."""

import os

DIRECTORY = ".prestage-incoming"


def incoming_path(backup_dir: str, run: str) -> str:
    """Return the place for the archive of a run, in a directory that exists."""
    directory = os.path.join(backup_dir, DIRECTORY)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    return os.path.join(directory, run + ".tar")


def remove_incoming(backup_dir: str, keep: str) -> None:
    """Remove what runs brought, except the archive of the run `keep`; call it under the lock of the site."""
    directory = os.path.join(backup_dir, DIRECTORY)
    if not os.path.isdir(directory):
        return
    for name in os.listdir(directory):
        if not keep or name != keep + ".tar":
            os.unlink(os.path.join(directory, name))
    if not os.listdir(directory):
        os.rmdir(directory)
