"""
Reads the list of container images to prestage: one reference per line, blank lines and `#` comments allowed.

docker://registry/repository:tag   fetched by the site from a registry (the scheme may be left out)
oci:path[:ref]                     an OCI image layout; path absolute or relative to the list's directory
oci-archive:path[:ref]             the same in one tar file
Each may end in @sha256:<digest>, which then must be the digest of what is fetched.
"""

import re
from typing import Dict, List, NamedTuple

from .errors import PrestageError
from .safe_names import relative_path

DOCKER = "docker"
OCI = "oci"
OCI_ARCHIVE = "oci-archive"

PINNED = re.compile(r"^(?P<rest>.+)@(?P<digest>sha256:[0-9a-f]{64})\Z")
DOCKER_NAME = re.compile(
    r"^(?=[^/]*[.:]|localhost/)[A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?\Z"
)
LAYOUT = re.compile(r"^(?P<path>[^:\s]+)(:(?P<ref>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?\Z")
# No release has more images.
MOST_IMAGES = 10000
# Faults named in one message; the rest is counted.
SHOWN = 5


class Reference(NamedTuple):
    """One line of the list."""

    # DOCKER, OCI or OCI_ARCHIVE.
    transport: str
    # Registry name with tag, or the layout's path.
    location: str
    # Which image of a layout; empty for its only one.
    ref: str
    # sha256:<hex> that the list demands, or empty.
    pinned: str

    @property
    def name(self) -> str:
        """What the image is called in the site's archive and in messages."""
        if self.transport == DOCKER:
            return self.location
        base = self.location.rstrip("/").rsplit("/", 1)[-1]
        return f"{base}:{self.ref}" if self.ref else base


def parse_list(text: str, where: str) -> List[Reference]:
    """
    Return the references of a list, each once.

    Raises:
        PrestageError: Lines are malformed; the message names them all. Or the list names no image.
    """
    references: Dict[str, Reference] = {}
    faults: List[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.split("#", 1)[0].strip()
        if not entry:
            continue
        try:
            reference = parse_reference(entry)
        except PrestageError as error:
            faults.append(f"line {number}: {error}")
            continue
        known = references.setdefault(reference.name, reference)
        if known != reference:
            faults.append(f"line {number}: a different image is already called {reference.name}")
        if len(references) > MOST_IMAGES:
            raise PrestageError(f"The image list {where} names more than {MOST_IMAGES} images. Shorten it.")
    if faults:
        more = f" ({len(faults) - SHOWN} more)" if len(faults) > SHOWN else ""
        raise PrestageError(f"The image list {where} is malformed: {'; '.join(faults[:SHOWN])}{more}. Correct it.")
    if not references:
        raise PrestageError(
            f"The image list {where} names no image. Add one reference per line, or run without a list."
        )
    return list(references.values())


def parse_reference(entry: str) -> Reference:
    """Read one entry."""
    match = PINNED.match(entry)
    rest, pinned = (match.group("rest"), match.group("digest")) if match else (entry, "")
    for transport in (OCI, OCI_ARCHIVE):
        if rest.startswith(transport + ":"):
            return _layout(transport, rest[len(transport) + 1 :], pinned)
    location = rest[len("docker://") :] if rest.startswith("docker://") else rest
    if not DOCKER_NAME.match(location):
        raise PrestageError(f"{entry!r} is neither docker://registry/name:tag, nor oci:path, nor oci-archive:path")
    return Reference(DOCKER, location, "", pinned)


def _layout(transport: str, rest: str, pinned: str) -> Reference:
    match = LAYOUT.match(rest)
    if match is None:
        raise PrestageError(f"{transport}:{rest} is not {transport}:path[:ref]")
    path = match.group("path")
    if len(path.strip("/")) == 0:
        raise PrestageError(f"{transport}:{rest} names no path")
    try:
        relative_path(path.strip("/"), "path")
    except PrestageError:
        raise PrestageError(f"{transport}:{rest} has an unsafe path (hidden, doubled slash, or '..')") from None
    return Reference(transport, path, match.group("ref") or "", pinned)
