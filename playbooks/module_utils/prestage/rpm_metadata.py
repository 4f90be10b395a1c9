"""Reads XML of a feed's metadata piece by piece, and refuses what would take all memory or never end."""

from typing import IO, Any

from .errors import PrestageError

# The metadata of the largest distributions unpacks to some hundred megabytes.
LARGEST_BYTES = 2 * 1024**3
# A document type may define entities that unfold without end; NUL bytes come from encodings that could hide one.
REFUSED = (b"<!DOCTYPE", b"<!ENTITY", b"\x00")
LONGEST_REFUSED = max(map(len, REFUSED))


class BoundedXml:
    """A stream for an XML parser over the unpacked content of a metadata file."""

    def __init__(self, stream: IO[Any], path: str, limit_bytes: int = LARGEST_BYTES) -> None:
        """
        Wrap an open stream; closing it stays with the caller.

        Args:
            stream: The unpacked content, as bytes.

            path: Its file, for messages.

            limit_bytes: The most that is read.
        """
        self._stream = stream
        self._path = path
        self._left = limit_bytes
        self._end = b""

    def read(self, size: int = -1) -> bytes:
        """
        Read on.

        Raises:
            PrestageError: The content is larger than the limit, or has a document type.
        """
        chunk = bytes(self._stream.read(size))
        self._left -= len(chunk)
        if self._left < 0:
            raise PrestageError(
                f"{self._path} is too large when it is unpacked. Make the feed's metadata again.", "controller"
            )
        seen = self._end + chunk
        if any(word in seen for word in REFUSED):
            raise PrestageError(
                f"{self._path} is malformed: it has a document type. Make the feed's metadata again.", "controller"
            )
        self._end = seen[1 - LONGEST_REFUSED :]
        return chunk
