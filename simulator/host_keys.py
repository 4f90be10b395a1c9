"""Keep the SSH host keys of simulated sites on disk: a site that is started again is still known."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import asyncssh

_DIRECTORY: Final = "host-keys"


def kept_host_key(root: Path, name: str) -> asyncssh.SSHKey:
    """Return the host key of the site called `name` of the fleet below `root`, made at the first call.

    Remove `root`/host-keys/`name` to have the site come up with another key, as after a reinstallation.

    Raises:
        OSError: The key cannot be read or written.
        asyncssh.KeyImportError: What is in its file is no private key.
    """
    file = root / _DIRECTORY / name
    if file.exists():
        return asyncssh.read_private_key(file)
    key = asyncssh.generate_private_key("ssh-ed25519")
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{name}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
        target.write(key.export_private_key("openssh"))
    draft.rename(file)
    return key


def remove_all_but_host_keys(root: Path) -> None:
    """Remove what an earlier start made below `root`, but for the keys of the sites; a missing `root` is fine."""
    if not root.exists():
        return
    for path in root.iterdir():
        if path.name == _DIRECTORY and path.is_dir() and not path.is_symlink():
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
