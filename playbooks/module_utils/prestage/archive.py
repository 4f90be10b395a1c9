"""
Carries files to a site in one tar file, verified on both ends.

Packed on the controller under a name made from its content, so that sites that lack the same files share one archive.
"""

import hashlib
import os
import re
import tarfile
import tempfile
import time
from typing import IO, Any, Callable, Dict, List, NamedTuple

from .checksums import DamagedError, write_verified
from .errors import PrestageError
from .files import is_regular, open_regular, require_no_link
from .space import require_space

# Older archives are removed when a new one is packed; reuse counts as new.
KEEP_S = 24 * 3600
# Only these names are removed: those of archives, and those of archives that were never finished.
OURS = re.compile(r"([0-9a-f]{64}\.tar|\.packing-[A-Za-z0-9_]+)\Z")
# What must stay free in the controller's file system, in bytes: sites decide what they lack.
KEEP_FREE_BYTES = 1024**3


class Part(NamedTuple):
    """One file to carry."""

    # Name in the archive, relative.
    name: str
    sha256: str
    size: int
    # Opens the content for reading.
    opener: Callable[[], IO[bytes]]
    # What to tell the operator when the content is not right.
    advice: str


def pack(parts: List[Part], directory: str) -> Dict[str, Any]:
    """
    Write the archive of `parts` to `directory`, unless it is there, and return its path and size.

    A part that is named twice is packed once.

    Raises:
        PrestageError: A file is missing or damaged, or there is no room; no archive appears.
    """
    require_no_link(directory)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    ordered = sorted({part.name: part for part in parts}.values(), key=lambda part: part.name)
    path = os.path.join(directory, _content_name(ordered))
    changed = not is_regular(path)
    if changed:
        _remove_old(directory)
        require_space(directory, sum(part.size for part in ordered), KEEP_FREE_BYTES, "the archive for the site")
        _write(ordered, path)
    os.utime(path)
    return {"archive": path, "bytes": os.path.getsize(path), "changed": changed}


def unpack(archive: str, parts: Dict[str, Any], target_of: Callable[[str], str]) -> List[str]:
    """
    Write each member that `parts` (name → object with `sha256` and `size`) asks for; return their names.

    Raises:
        PrestageError: The archive holds something else, or a member is damaged.
    """
    names: List[str] = []
    try:
        with open_regular(archive) as raw, tarfile.open(fileobj=raw, mode="r:") as source:
            for member in source:
                part = parts.get(member.name)
                stream = source.extractfile(member) if part is not None and member.isreg() else None
                if part is None or stream is None:
                    raise PrestageError(
                        f"The transferred archive holds the unexpected file {member.name!r}. Prestage again."
                    )
                write_verified(stream, target_of(member.name), part.sha256, part.size)
                names.append(member.name)
    except tarfile.TarError as error:
        raise PrestageError(f"The transferred archive is damaged: {error}. Prestage again.", "checksum") from error
    except DamagedError as error:
        raise PrestageError(f"The transferred archive is damaged: {error} Prestage again.", "checksum") from error
    return names


def add_file(archive: tarfile.TarFile, name: str, size: int, stream: IO[bytes]) -> None:
    """Add a file with neither owner nor time, so that equal content makes equal archives."""
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    archive.addfile(member, stream)


def _write(parts: List[Part], path: str) -> None:
    descriptor, partial = tempfile.mkstemp(prefix=".packing-", dir=os.path.dirname(path))
    try:
        with os.fdopen(descriptor, "wb") as sink, tarfile.open(
            fileobj=sink, mode="w:", format=tarfile.PAX_FORMAT
        ) as archive:
            for part in parts:
                _add_verified(archive, part)
        os.rename(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _add_verified(archive: tarfile.TarFile, part: Part) -> None:
    try:
        with part.opener() as raw:
            stream = HashingReader(raw)
            add_file(archive, part.name, part.size, stream)  # type: ignore[arg-type]
            rest = raw.read(1)
    except (FileNotFoundError, KeyError) as error:
        raise PrestageError(f"{part.name} is missing. {part.advice}") from error
    except OSError as error:
        # tarfile's word for a file that is shorter than promised; system errors carry a number.
        if error.errno is not None:
            raise
        raise PrestageError(f"{part.name} is damaged: it is too short. {part.advice}", "checksum") from error
    if rest or stream.checksum() != part.sha256:
        raise PrestageError(f"{part.name} is damaged: its SHA-256 is not {part.sha256}. {part.advice}", "checksum")


class HashingReader:
    """Reads a stream and keeps the checksum of what went through."""

    def __init__(self, raw: IO[bytes]) -> None:
        """Wrap an open stream; closing stays with the caller."""
        self._raw = raw
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        chunk = self._raw.read(size)
        self._digest.update(chunk)
        return chunk

    def checksum(self) -> str:
        """Return the SHA-256 of everything read."""
        return self._digest.hexdigest()


def _content_name(parts: List[Part]) -> str:
    text = "\n".join(f"{part.name}\0{part.sha256}" for part in parts)
    return hashlib.sha256(text.encode("utf-8")).hexdigest() + ".tar"


def _remove_old(directory: str) -> None:
    limit = time.time() - KEEP_S
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        try:
            if OURS.match(name) and is_regular(path) and os.path.getmtime(path) < limit:
                os.unlink(path)
        except FileNotFoundError:
            # Another site's run was faster.
            continue
