"""Reads the files of an image layout, in a directory or in a tar file with any compression that Python knows."""

import os
import posixpath
import tarfile
import zlib
from contextlib import contextmanager
from typing import IO, Dict, Iterator, Optional, Tuple, Type, Union, cast

from .errors import PrestageError
from .files import open_regular, require_inside

try:
    from lzma import LZMAError
except ImportError:  # Python may be built without it; tarfile says so for archives that need it.
    LZMAError = zlib.error  # type: ignore[assignment,misc]

# tarfile raises the last two for numbers that make no sense.
DAMAGE: Tuple[Type[BaseException], ...] = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    LZMAError,
    ValueError,
    OverflowError,
)
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# Links that lead to links, in one archive.
MOST_LINKS = 16
# No archive has more; a size below zero makes older versions of tarfile read the same member for ever.
MOST_MEMBERS = 100000


class DirectoryFiles:
    """The files of a layout in a directory."""

    def __init__(self, path: str) -> None:
        """Take the directory; files are opened at each read."""
        self._path = path

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """
        Open a file.

        Raises:
            FileNotFoundError: There is no such file.

            PrestageError: It is no regular file, or a link leads out of the directory.
        """
        with open_regular(require_inside(self._path, name)) as stream:
            yield stream

    def size(self, name: str) -> Optional[int]:
        """Return the size of a file in bytes; None if there is none."""
        try:
            return os.path.getsize(require_inside(self._path, name))
        except (FileNotFoundError, NotADirectoryError):
            return None


class ArchiveFiles:
    """The files of a layout in a tar file; hard and symbolic links inside of it are followed."""

    def __init__(self, path: str) -> None:
        """Take the file; its members are listed at the first read."""
        self._path = path
        self._members: Optional[Dict[str, tarfile.TarInfo]] = None

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """
        Open a member.

        Raises:
            FileNotFoundError: There is no such member.

            PrestageError: The archive is damaged, or compressed in a way that this Python does not know.
        """
        member = self._find(name)
        if member is None:
            raise FileNotFoundError(2, "no such member", f"{self._path}:{name}")
        with self._archive() as archive:
            yield cast("IO[bytes]", archive.extractfile(member))

    def size(self, name: str) -> Optional[int]:
        """Return the size of a member in bytes; None if there is none."""
        member = self._find(name)
        return None if member is None else member.size

    def _find(self, name: str) -> Optional[tarfile.TarInfo]:
        if self._members is None:
            self._members = self._list()
        for _ in range(MOST_LINKS):
            member = self._members.get(name)
            if member is None or member.isreg():
                return member
            if member.islnk():
                name = posixpath.normpath(member.linkname).lstrip("/")
            elif member.issym():
                name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            else:
                return None
        return None

    def _list(self) -> Dict[str, tarfile.TarInfo]:
        members: Dict[str, tarfile.TarInfo] = {}
        with self._archive() as archive:
            for number, member in enumerate(archive):
                if number >= MOST_MEMBERS or member.size < 0:
                    raise PrestageError(
                        f"{self._path} is no OCI archive: it has members without end. Make it again.", "controller"
                    )
                members[posixpath.normpath(member.name).lstrip("/")] = member
        return members

    @contextmanager
    def _archive(self) -> Iterator[tarfile.TarFile]:
        try:
            with open_regular(self._path) as raw:
                self._require_known(raw)
                with tarfile.open(fileobj=raw, mode="r:*") as archive:
                    yield archive
        except DAMAGE as error:
            raise self._damaged(error) from error
        except OSError as error:
            # gzip and bz2 raise it for damaged content; system errors carry a number.
            if error.errno is not None:
                raise
            raise self._damaged(error) from error

    def _require_known(self, raw: IO[bytes]) -> None:
        if raw.read(len(ZSTD_MAGIC)) == ZSTD_MAGIC:
            raise PrestageError(
                f"{self._path} is compressed with zstd. Unpack it first: zstd -d {self._path}", "controller"
            )
        raw.seek(0)

    def _damaged(self, error: BaseException) -> PrestageError:
        return PrestageError(
            f"{self._path} is no OCI archive, or damaged: {error}. Make it again, for example with skopeo.", "checksum"
        )


LayoutFiles = Union[DirectoryFiles, ArchiveFiles]


def layout_files(path: str) -> LayoutFiles:
    """Return the files of the layout at `path`, a directory or a tar file."""
    return DirectoryFiles(path) if os.path.isdir(path) else ArchiveFiles(path)
