"""Unpacks the metadata of a feed, whatever createrepo_c packed it with."""

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import zlib
from contextlib import contextmanager, nullcontext
from typing import IO, Any, Callable, ContextManager, Dict, Iterator

from .errors import PrestageError

ZSTD = ".zst"
OPENERS: Dict[str, Callable[..., ContextManager[Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".xml": nullcontext,
}
AGAIN = "Make the feed's metadata again"


@contextmanager
def unpacked(raw: IO[bytes], path: str) -> Iterator[Any]:
    """
    Give the unpacked content of the open file `raw`; the suffix of `path` names the compression.

    Raises:
        PrestageError: The suffix is unknown, the content is damaged, or nothing here unpacks zstd.
    """
    suffix = os.path.splitext(path)[1]
    if suffix != ZSTD and suffix not in OPENERS:
        known = ", ".join(sorted([ZSTD, *OPENERS]))
        raise PrestageError(f"{path} is compressed in an unsupported way. Use one of: {known}.")
    try:
        with ZstdReader(raw, path) if suffix == ZSTD else OPENERS[suffix](raw) as stream:
            yield stream
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise PrestageError(f"{path} is malformed: {error}. {AGAIN}.") from error
    except OSError as error:
        # gzip and bz2 say in this way that the content is not theirs; errors of the system carry a number.
        if error.errno is not None:
            raise
        raise PrestageError(f"{path} is malformed: {error}. {AGAIN}.") from error


class ZstdReader:
    """Unpacks zstd with the program of that name: the Python of a site can do so from 3.14 on only."""

    def __init__(self, raw: IO[bytes], path: str) -> None:
        """
        Start the program; it ends with the `with` statement, also before all is read.

        Raises:
            PrestageError: There is no such program.
        """
        program = shutil.which("zstd")
        if program is None:
            raise PrestageError(
                f"{path} is compressed with zstd, and the program zstd is not installed on this machine. Install the "
                "package zstd, or make the feed's metadata with createrepo_c --general-compress-type=gz."
            )
        self._path = path
        self._process = subprocess.Popen(
            [program, "-dcq"], stdin=raw, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> "ZstdReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()

    def read(self, size: int = -1) -> bytes:
        """
        Read on; nothing at the end.

        Raises:
            PrestageError: The content is no whole zstd file.
        """
        chunk = self._output.read(size)
        if not chunk and self._process.wait():
            raise PrestageError(f"{self._path} is malformed: zstd cannot unpack it. {AGAIN}.")
        return chunk

    @property
    def _output(self) -> IO[bytes]:
        output = self._process.stdout
        assert output is not None  # noqa: S101
        return output
