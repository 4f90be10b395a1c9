"""Reads names of images in a registry the way Docker, skopeo and containerd do: short names are those of docker.io."""

import re
from typing import NamedTuple

from .errors import PrestageError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
# Where docker.io keeps the images whose name has one part.
OFFICIAL = "library"
# An older name of docker.io.
INDEX_REGISTRY = "index.docker.io"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?\Z")
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*\Z")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
# Docker keeps such names for the identifiers of images.
IDENTIFIER = re.compile(r"[0-9a-f]{64}\Z")
LONGEST_NAME = 255


class RegistryName(NamedTuple):
    """The parts of a name."""

    registry: str
    # Path in the registry.
    repository: str
    # Empty when the name has none.
    tag: str

    @property
    def untagged(self) -> str:
        """The name without its tag."""
        return f"{self.registry}/{self.repository}"

    @property
    def location(self) -> str:
        """The whole name."""
        return f"{self.untagged}:{self.tag}" if self.tag else self.untagged

    @property
    def tagged(self) -> str:
        """The whole name, with the tag `latest` where it has none."""
        return f"{self.untagged}:{self.tag or DEFAULT_TAG}"


def parse_registry_name(text: str) -> RegistryName:
    """
    Read `[registry/]repository[:tag]`.

    The first part is a registry if it has a dot, a colon or a capital letter, or is `localhost`; else docker.io is
    meant, and `library/` stands before a single part there.

    Raises:
        PrestageError: It is no such name; the message says which part is wrong.
    """
    registry, repository = _split_registry(text)
    head, slash, last = repository.rpartition("/")
    last, colon, tag = last.partition(":")
    repository = head + slash + last
    if not REGISTRY.match(registry):
        raise PrestageError(f"{registry!r} is no registry: give host[:port], or [IPv6 address]:port")
    if not all(map(REPOSITORY.match, repository.split("/"))):
        raise PrestageError(f"{repository!r} is no repository: small letters, digits and single . _ - between them")
    if colon and not TAG.match(tag):
        raise PrestageError(f"{tag!r} is no tag: up to 128 letters, digits and _ . -")
    if IDENTIFIER.match(text):
        raise PrestageError(f"{text!r} is the identifier of an image, not a name")
    name = RegistryName(registry, repository, tag)
    if len(name.untagged) > LONGEST_NAME:
        raise PrestageError(f"a name has at most {LONGEST_NAME} characters")
    return name


def _split_registry(text: str) -> "tuple[str, str]":
    first, slash, rest = text.partition("/")
    if not slash or not (first == "localhost" or re.search(r"[.:A-Z\[]", first)):
        registry, repository = DEFAULT_REGISTRY, text
    else:
        registry, repository = first, rest
    if registry == INDEX_REGISTRY:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"{OFFICIAL}/{repository}"
    return registry, repository
