"""Reads and copies files with their checksum in one pass, so that big files are read once."""

import hashlib
import os
from typing import IO, Any

from .errors import PrestageError
from .files import create, is_regular, open_regular

CHUNK_BYTES = 1024 * 1024
# Every name that createrepo_c writes; "sha" is SHA-1. The weak ones only find damage: manifests carry SHA-256.
ALGORITHMS = {
    "md5": "md5",
    "sha": "sha1",
    "sha1": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
}


class DamagedError(PrestageError):
    """A file's content is not what its checksum or size promises."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "checksum")


def checksum_of_file(path: str, algorithm: str = "sha256") -> str:
    """Return the hexadecimal checksum of a file."""
    digest = new_digest(algorithm)
    with open_regular(path) as source:
        for chunk in iter(lambda: source.read(CHUNK_BYTES), b""):
            digest.update(chunk)
    return str(digest.hexdigest())


def new_digest(algorithm: str) -> Any:
    """Start a checksum by the name rpm metadata uses for it."""
    if algorithm not in ALGORITHMS:
        known = ", ".join(sorted(ALGORITHMS))
        raise PrestageError(f"Checksum type {algorithm!r} is not supported. Make the feed's metadata with: {known}.")
    return hashlib.new(ALGORITHMS[algorithm])


def is_intact(path: str, sha256: str, size: int) -> bool:
    """Tell whether a regular file has this size and checksum; a missing one has not."""
    if not is_regular(path) or os.path.getsize(path) != size:
        return False
    return checksum_of_file(path) == sha256


def write_verified(source: IO[bytes], target: str, sha256: str, size: int) -> None:
    """
    Copy a stream to the file `target`, which appears only if the content is right.

    Raises:
        DamagedError: Size or checksum differ; `target` is as it was before.
    """
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    partial = os.path.join(os.path.dirname(target), "." + os.path.basename(target) + ".partial")
    try:
        with create(partial) as sink:
            found = _copy(source, sink, size)
            os.fsync(sink.fileno())
        if found != sha256:
            raise DamagedError(f"{os.path.basename(target)} is damaged: SHA-256 is {found}, expected {sha256}.")
        os.chmod(partial, 0o644)
        os.rename(partial, target)
    finally:
        if os.path.lexists(partial):
            os.unlink(partial)


def copy_verified(source: str, target: str, sha256: str, size: int) -> None:
    """Copy a file as `write_verified` does."""
    with open_regular(source) as stream:
        write_verified(stream, target, sha256, size)


def _copy(source: IO[bytes], sink: IO[bytes], limit: int) -> str:
    """Copy at most one byte more than `limit`, so that a wrong size changes the checksum but cannot fill the disk."""
    digest = hashlib.sha256()
    left = limit + 1
    while left > 0:
        chunk = source.read(min(CHUNK_BYTES, left))
        if not chunk:
            break
        left -= len(chunk)
        digest.update(chunk)
        sink.write(chunk)
    return digest.hexdigest()
