"""Resolves the lines of an image list: layouts to their blobs, registry names later on the site."""

import os
from typing import Any, Dict, List, NamedTuple, Optional, Union

from .docker_archive import DockerArchive
from .errors import PrestageError
from .files import read_text
from .image_list import DOCKER, DOCKER_ARCHIVE, Reference, parse_list
from .oci_layout import Image, Layout, image_from_dict

Container = Union[Layout, DockerArchive]


class Source(NamedTuple):
    """One line of the list and what is known of it."""

    reference: Reference
    # Where the layout lies, on the machine that read the list; empty for a registry.
    path: str
    # None for a registry, until the site has asked it.
    image: Optional[Image]

    def as_dict(self) -> Dict[str, Any]:
        """Return what `source_from_dict` reads."""
        image = self.image.as_dict() if self.image else None
        return {"reference": self.reference._asdict(), "path": self.path, "image": image}

    @property
    def identity(self) -> str:
        """What the list asks for; equal identities are satisfied by the same archive."""
        content = self.image.manifest.sha256 if self.image and self.reference.transport != DOCKER else ""
        return f"{self.reference.name}\x00{self.reference.pinned}\x00{content}"


def source_from_dict(content: Dict[str, Any]) -> Source:
    """Read what the controller's module answered."""
    fields = content["reference"]
    reference = Reference(*(str(fields[key]) for key in Reference._fields))
    return Source(reference, str(content["path"]), image_from_dict(content["image"]) if content["image"] else None)


def read_sources(list_file: str) -> List[Source]:
    """
    Read a list and resolve its layouts.

    Raises:
        PrestageError: The list is missing or malformed, a layout is missing or damaged, a pinned digest differs.
    """
    try:
        text = read_text(list_file)
    except FileNotFoundError as error:
        raise PrestageError(
            f"There is no image list {list_file}. Put it there, or give image_list_file.", "controller"
        ) from error
    except ValueError as error:
        raise PrestageError(
            f"The image list {list_file} is malformed: it is not UTF-8 text. Correct it.", "controller"
        ) from error
    return [_resolve(reference, os.path.dirname(list_file)) for reference in parse_list(text, list_file)]


def _resolve(reference: Reference, directory: str) -> Source:
    if reference.transport == DOCKER:
        return Source(reference, "", None)
    path = os.path.join(directory, reference.location)
    try:
        image = _read_image(reference, path)
    except PrestageError as error:
        raise PrestageError(f"Image {reference.name}: {error}", error.failure_class) from error
    digest = "sha256:" + image.manifest.sha256
    if reference.pinned and reference.pinned != digest:
        raise PrestageError(
            f"Image {reference.name}: the list pins {reference.pinned}, but {path} holds {digest}. "
            "Correct the list or the layout."
        )
    return Source(reference, path, image)


def _read_image(reference: Reference, path: str) -> Image:
    container = open_container(reference, path)
    if isinstance(container, DockerArchive):
        return container.resolve(reference.name)
    return container.resolve(reference.name, reference.ref, reference.pinned)


def open_container(reference: Reference, path: str) -> Container:
    """Return what holds the blobs of an image that does not come from a registry."""
    return DockerArchive(path, reference.ref) if reference.transport == DOCKER_ARCHIVE else Layout(path)
