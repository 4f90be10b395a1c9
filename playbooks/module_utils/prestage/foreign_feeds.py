"""Recognizes feeds of other kinds than rpm, so that they are refused with what is taken instead."""

import os

# Any of these makes a feed of the kind.
DEBIAN_FILES = ("Release", "InRelease", "Packages", "Packages.gz", "Packages.xz")
DEBIAN_DIRECTORIES = ("dists", "pool")
OSTREE_DIRECTORY = "ostree_repo"
# These together make an OSTree repository.
OSTREE_PARTS = ("config", "objects", "refs")


def foreign_kind(directory: str) -> str:
    """Return "an OSTree feed" or "a Debian package feed" if `directory` is one, else nothing."""
    if os.path.isdir(os.path.join(directory, OSTREE_DIRECTORY)) or all(
        os.path.exists(os.path.join(directory, name)) for name in OSTREE_PARTS
    ):
        return "an OSTree feed"
    if _has_debian_parts(directory):
        return "a Debian package feed"
    return ""


def _has_debian_parts(directory: str) -> bool:
    if not os.path.isdir(directory):
        return False
    return (
        any(os.path.isfile(os.path.join(directory, name)) for name in DEBIAN_FILES)
        or any(os.path.isdir(os.path.join(directory, name)) for name in DEBIAN_DIRECTORIES)
        or any(name.endswith(".deb") for name in os.listdir(directory))
    )
