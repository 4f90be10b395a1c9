"""Chooses the variant of a multi-platform image for a machine, by the rule of skopeo."""

import platform
from typing import List, Optional

from .image_manifest import Child

OS = "linux"
# Names of the Linux kernel, and those of container images where they differ.
ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
}


def own_architecture() -> str:
    """Return this machine's architecture as container images name it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def choose(children: List[Child], architecture: str) -> Optional[Child]:
    """Return the first entry for this architecture, else the first that names no platform, else None."""
    for child in children:
        if (child.os, child.architecture) == (OS, architecture):
            return child
    return next((child for child in children if not child.os and not child.architecture), None)
