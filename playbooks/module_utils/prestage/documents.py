"""Writes and reads the small JSON files (markers, manifests) that say what is complete."""

import contextlib
import json
import os
import time
from typing import Any, Dict, Optional

from .errors import PrestageError
from .files import create, read_text


def write_document(path: str, content: Dict[str, Any]) -> None:
    """Write JSON so that after a crash the file is either the old or the new one, never half."""
    partial = path + ".partial"
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    with create(partial) as sink:
        sink.write(text.encode("utf-8"))
        sink.flush()
        os.fsync(sink.fileno())
    os.chmod(partial, 0o644)
    os.rename(partial, path)
    sync_directory(os.path.dirname(path))


def read_document(path: str) -> Optional[Dict[str, Any]]:
    """Return the content of a marker; None when it is missing or unreadable, so the work is done again."""
    try:
        content = json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError, PrestageError):
        return None
    return content if isinstance(content, dict) else None


def parse_object(text: str, what: str) -> Dict[str, Any]:
    """Return a JSON object that must be there."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PrestageError(f"{what} is malformed: {error}. It must be made again.") from error
    if not isinstance(content, dict):
        raise PrestageError(f"{what} is malformed: it is not a JSON object. It must be made again.")
    return content


def sync_directory(path: str) -> None:
    """Make renames in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_file(path: str) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def utc(seconds: Optional[float] = None) -> str:
    """Write a time as 2024-05-01T12:00:00Z; now by default."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
