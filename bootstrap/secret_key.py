"""The installation's key, which seals passwords."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from bootstrap.faults import StartError
from db.sealing import KEY_BYTES, Sealer
from settings.model import Settings


def load_sealer(settings: Settings) -> Sealer:
    """Return the sealer with the installation's key; an embedded one makes its key at the first start.

    Raises:
        StartError: The key is not 32 bytes in base64.
    """
    if settings.secret_key is not None:
        return _sealer(settings.secret_key.get_secret_value(), "PRESTAGER_SECRET_KEY")
    path = settings.key_path
    if settings.secret_key_file is None and not path.exists():
        _make_key(path)
    try:
        return _sealer(path.read_text(), str(path))
    except OSError as error:
        raise StartError(f"The secret key in {path} cannot be read: {error.strerror}.") from error


def _make_key(path: Path) -> None:
    """Make the key's file, unless another process that starts now is quicker; then its key is the installation's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whole or not at all: a crash must not leave half a key that later seals passwords.
    draft = path.with_name(f"{path.name}.{uuid4().hex}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b64encode(os.urandom(KEY_BYTES)))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never takes the place of what is there.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sealer(text: str, source: str) -> Sealer:
    try:
        return Sealer(b64decode(text.strip(), validate=True))
    except ValueError as error:
        raise StartError(
            f"{source} must hold {KEY_BYTES} bytes in base64; make one with: openssl rand -base64 32"
        ) from error
