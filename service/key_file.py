"""File of the secret keys: one key a line, 32 bytes in base64. The first one seals, all of them open."""

from __future__ import annotations

import errno
import os
import shlex
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import structlog

from db.encryption import KEY_BYTES, Sealer, key_id
from service.errors import StartError
from service.settings import Settings

_log = structlog.get_logger(__name__)

# A file with more keys is no key file.
_MOST_KEYS: Final = 16
_MOST_BYTES: Final = 4096

_Version = tuple[int, int, int, int]


def parse_keys(text: str, source: str) -> tuple[bytes, ...]:
    """Return the keys in a text, in its order, each once; blank lines do not count.

    Raises:
        StartError: There is none, or too many, or one is not 32 bytes in base64. It names `source` and the line.
    """
    keys: list[bytes] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            keys.append(_key(line.strip(), f"Line {number} of {source}" if number > 1 else source))
    if not keys:
        raise StartError(f"{source} holds no secret key; make one with: openssl rand -base64 {KEY_BYTES}")
    if len(keys) > _MOST_KEYS:
        raise StartError(f"{source} holds {len(keys)} secret keys, more than {_MOST_KEYS}; remove those not needed.")
    return tuple(dict.fromkeys(keys))


def _key(text: str, source: str) -> bytes:
    try:
        key = b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise StartError(
            f"{source} must hold {KEY_BYTES} bytes in base64; make one with: openssl rand -base64 {KEY_BYTES}"
        )
    return key


class KeyFile:
    """The keys in a file, read again whenever it has changed; a broken file leaves the keys of before in force."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version: _Version | None = None

    def read(self) -> tuple[bytes, ...]:
        """Return the keys as they are in the file now.

        Raises:
            StartError: The file cannot be read, or does not hold keys.
        """
        try:
            # Before the content: what changes meanwhile is read again.
            self._version = _version(self.path)
            with self.path.open(encoding="utf-8-sig", errors="replace") as file:
                text = file.read(_MOST_BYTES)
        except FileNotFoundError as error:
            raise StartError(missing_key_text(self.path)) from error
        except OSError as error:
            raise StartError(
                f"The secret key in {self.path} cannot be read: {error.strerror}. Let this user read it, or name"
                " another file in PRESTAGER_SECRET_KEY_FILE."
            ) from error
        return parse_keys(text, str(self.path))

    def changed(self) -> tuple[bytes, ...] | None:
        """Return the keys when the file has changed since it was read last, otherwise None.

        A change that leaves no usable file is logged once, and the keys of before stay.
        """
        try:
            version = _version(self.path)
        except OSError:
            version = None
        if version == self._version:
            return None
        self._version = version
        try:
            keys = self.read()
        except StartError as error:
            _log.warning("secret-key.not-read", reason=str(error), advice="The keys that were read before stay in use.")
            return None
        _log.info("secret-key.read-again", path=str(self.path), key_ids=[key_id(key) for key in keys])
        return keys


def missing_key_text(path: Path) -> str:
    """Return the sentences for a key file that is not there, with the command that makes one."""
    return (
        f"There is no secret key at {path}. Bring the installation's key there; a new installation makes one with:"
        f" (umask 077; openssl rand -base64 {KEY_BYTES} > {shlex.quote(str(path))})"
    )


def make_key_file(path: Path) -> None:
    """Make the file with one new key, unless another process that starts now is quicker; then that key counts.

    Raises:
        StartError: Its directory cannot be made or written.
    """
    try:
        _make_key_file(path)
    except OSError as error:
        raise StartError(
            f"A secret key cannot be made at {path}: {error.strerror}. Let this user write there, or name the file of a"
            " key in PRESTAGER_SECRET_KEY_FILE."
        ) from error


def _make_key_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = _write_draft(path, [os.urandom(KEY_BYTES)], mode=0o600)
    try:
        # Unlike a rename, a link never takes the place of what is there.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def write_keys(path: Path, keys: Sequence[bytes]) -> None:
    """Replace the keys in a file that is there, whole or not at all; owner and mode stay.

    Raises:
        OSError: This user may not replace the file, or is root and another user may write to its directory.
    """
    place = path.resolve()
    for directory in {path.absolute().parent, place.parent}:
        _refuse_to_act_for_others(directory)
    before = place.stat()
    draft = _write_draft(place, keys, mode=before.st_mode & 0o777, owner=before)
    try:
        draft.replace(place)
    except OSError:
        draft.unlink()
        raise
    _sync_directory(place.parent)


def _refuse_to_act_for_others(directory: Path) -> None:
    """Keep root out of a directory of another user, who could lead it to any file by links.

    Raises:
        PermissionError: The user is root, and the directory is another user's, or others may write to it.
    """
    status = directory.stat()
    if os.geteuid() == 0 and (status.st_uid != 0 or status.st_mode & 0o022):
        raise PermissionError(errno.EPERM, "root changes nothing in a directory that another user may write to")


def _write_draft(path: Path, keys: Sequence[bytes], *, mode: int, owner: os.stat_result | None = None) -> Path:
    # Whole or not at all: a crash must not leave half a key that later seals passwords.
    draft = path.with_name(f"{path.name}.{uuid4().hex}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.fchmod(descriptor, mode)
            file.writelines(b64encode(key) + b"\n" for key in keys)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        draft.unlink()
        raise
    return draft


def _version(path: Path) -> _Version:
    status = path.stat()
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_sealer(settings: Settings) -> Sealer:
    """Return the sealer with the installation's keys; an embedded one makes its first key at the first start.

    Keys in a file are read again when it changes; those of PRESTAGER_SECRET_KEY stay until the process ends.

    Raises:
        StartError: A key is not 32 bytes in base64, or the file cannot be read.
    """
    if settings.secret_key is not None:
        # A variable of the environment holds no line breaks in most places where it is set.
        text = settings.secret_key.get_secret_value().replace(",", " ")
        return Sealer(*parse_keys("\n".join(text.split()), "PRESTAGER_SECRET_KEY"))
    if settings.secret_key_file is None and not settings.key_path.exists():
        make_key_file(settings.key_path)
    file = KeyFile(settings.key_path)
    return Sealer(*file.read(), changed=file.changed)
