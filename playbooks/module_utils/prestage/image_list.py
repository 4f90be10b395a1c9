"""
Reads the list of container images to prestage: one reference per line, blank lines and `#` comments allowed.

docker://[registry/]repository:tag   fetched by the site from a registry (the scheme may be left out; docker.io is meant
                                     where no registry is given)
oci:path[:ref]                       an OCI image layout; path absolute or relative to the list's directory
oci-archive:path[:ref]               the same in one tar file
docker-archive:path[:name]           an archive of docker save before version 25, or of podman save
Each may end in @sha256:<digest>, which then must be the digest of what is fetched.

As in the lists of StarlingX, a line that begins with a `[marker]` is skipped and what follows a comma is ignored.
"""

import re
from typing import Dict, List, NamedTuple, Set

from .errors import PrestageError
from .image_names import parse_registry_name
from .safe_names import excerpt, relative_path

DOCKER = "docker"
OCI = "oci"
OCI_ARCHIVE = "oci-archive"
DOCKER_ARCHIVE = "docker-archive"
# Transports of skopeo that lists do not have; their names are not taken for those of images.
OTHER_TRANSPORTS = ("containers-storage", "dir", "docker-daemon", "ostree", "sif", "tarball")

PINNED = re.compile(r"(?P<rest>.+)@(?P<digest>sha256:[0-9a-f]{64})\Z")
# A registry's IPv6 address is in brackets too, but a port or a path follows.
MARKER = re.compile(r"\[[^]]*\](?![:/])")
# The ref may be a whole registry name, as containerd, buildah and our own archives write it.
LAYOUT = re.compile(r"(?P<path>[^:\s]+)(:(?P<ref>[A-Za-z0-9_\[][][A-Za-z0-9_.:/@+-]{0,1023}))?\Z")
# No release has more images.
MOST_IMAGES = 10000
# Faults named in one message; the rest is counted.
SHOWN = 5


class Reference(NamedTuple):
    """One line of the list."""

    # DOCKER, OCI, OCI_ARCHIVE or DOCKER_ARCHIVE.
    transport: str
    # Registry name with registry, and with tag unless it has none but a digest; or the layout's path.
    location: str
    # Which image of a layout; empty for its only one.
    ref: str
    # sha256:<hex> that the list demands, or empty.
    pinned: str

    @property
    def name(self) -> str:
        """The name of the image in the site's archive and in messages; one without a tag has its digest there."""
        name = self._tagged_name()
        has_tag = ":" in name.rpartition("/")[2]
        return f"{name}@{self.pinned}" if self.pinned and not has_tag else name

    def _tagged_name(self) -> str:
        if self.transport == DOCKER:
            return self.location
        if "/" in self.ref or ":" in self.ref:
            return self.ref
        base = self.location.rstrip("/").rsplit("/", 1)[-1]
        return f"{base}:{self.ref}" if self.ref else base


def parse_list(text: str, where: str) -> List[Reference]:
    """
    Return the references of a list, each once.

    A tag with and without its digest is one image, with that digest. Where a tag stands with several digests, they are
    several images, and their names have the digest in place of the tag.

    Raises:
        PrestageError: Lines are malformed; the message names them all. Or the list names no image.
    """
    found: Dict[int, Reference] = {}
    faults: Dict[int, str] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        entry = line.split("#", 1)[0].split(",", 1)[0].strip()
        if not entry or MARKER.match(entry):
            continue
        try:
            found[number] = parse_reference(entry)
        except PrestageError as error:
            faults[number] = str(error)
    references = _unite(found, faults)
    if faults:
        shown = [f"line {number}: {faults[number]}" for number in sorted(faults)[:SHOWN]]
        more = f" ({len(faults) - SHOWN} more)" if len(faults) > SHOWN else ""
        raise PrestageError(f"The image list {where} is malformed: {'; '.join(shown)}{more}. Correct it.", "controller")
    if not references:
        raise PrestageError(
            f"The image list {where} names no image. Add one reference per line, or run without a list.", "controller"
        )
    if len(references) > MOST_IMAGES:
        raise PrestageError(f"The image list {where} names more than {MOST_IMAGES} images. Shorten it.", "controller")
    return references


def parse_reference(entry: str) -> Reference:
    """
    Read one entry.

    Raises:
        PrestageError: It is no reference; the message says why.
    """
    match = PINNED.match(entry)
    rest, pinned = (match.group("rest"), match.group("digest")) if match else (entry, "")
    transport, _, place = rest.partition(":")
    if transport in (OCI, OCI_ARCHIVE, DOCKER_ARCHIVE):
        return _layout(transport, place, pinned)
    location = rest[len("docker://") :] if rest.startswith("docker://") else rest
    try:
        return Reference(DOCKER, _registry_location(location, pinned), "", pinned)
    except PrestageError as error:
        raise PrestageError(
            f"{excerpt(entry)} is neither docker://registry/name:tag, nor oci:path, nor oci-archive:path, "
            f"nor docker-archive:path ({error})"
        ) from None


def _registry_location(location: str, pinned: str) -> str:
    transport = location.split(":", 1)[0]
    if transport in OTHER_TRANSPORTS:
        raise PrestageError(f"make an oci-archive of it: skopeo copy {transport}:... oci-archive:FILE")
    if "@" in location:
        raise PrestageError("a digest is sha256: and 64 digits from 0 to f")
    name = parse_registry_name(location)
    return name.location if pinned else name.tagged


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
    ref = match.group("ref") or ""
    if ref and transport == DOCKER_ARCHIVE:
        ref = parse_registry_name(ref).tagged
    return Reference(transport, path, ref, pinned)


def _unite(found: Dict[int, Reference], faults: Dict[int, str]) -> List[Reference]:
    """Return one reference per image, in the order of the list; add a fault where two images have one name."""
    digests: Dict[str, Set[str]] = {}
    for reference in found.values():
        if reference.transport == DOCKER and reference.pinned:
            digests.setdefault(reference.location, set()).add(reference.pinned)
    united: Dict[str, Reference] = {}
    for number, line in found.items():
        reference = _with_digest(line, digests.get(line.location, set())) if line.transport == DOCKER else line
        if united.setdefault(reference.name, reference) != reference:
            faults[number] = f"a different image is already called {reference.name}"
    return list(united.values())


def _with_digest(reference: Reference, digests: Set[str]) -> Reference:
    """Apply what all lines with this location say of its digest."""
    if len(digests) == 1:
        return reference._replace(pinned=next(iter(digests)))
    if reference.pinned:
        return reference._replace(location=parse_registry_name(reference.location).untagged)
    return reference
