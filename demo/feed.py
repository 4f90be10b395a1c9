"""Makes two releases of a package feed that differ, with real rpm metadata around made-up package files.

The bytes come from a seed, so the same call makes the same feeds.
"""

from __future__ import annotations

import gzip
import hashlib
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

SMALLEST_BYTES = 2 * 1024
LARGEST_BYTES = 200 * 1024
SUBJECTS = ("kernel", "ceph", "kubernetes", "docker", "etcd", "openssl", "sysinv", "fm", "mtce", "nfv")
PARTS = ("client", "common", "core", "libs")


@dataclass(frozen=True, kw_only=True)
class DemoPackage:
    """One made-up package; equal values make equal bytes."""

    name: str
    version: str
    # Of the file.
    size_bytes: int

    @property
    def file_name(self) -> str:
        """Name of the file below Packages/."""
        return f"{self.name}-{self.version}-1.x86_64.rpm"

    def content(self, seed: int) -> bytes:
        """Return the bytes of the file."""
        return random.Random(f"{seed}/{self.name}/{self.version}").randbytes(self.size_bytes)


@dataclass(frozen=True, kw_only=True)
class DemoFeeds:
    """Paths of the feeds and their differences; counts are of packages."""

    root: Path
    previous: str
    target: str
    unchanged_count: int
    changed_count: int
    new_count: int
    removed_count: int

    @property
    def previous_directory(self) -> Path:
        """The feed of the previous release."""
        return self.root / f"rel-{self.previous}"

    @property
    def target_directory(self) -> Path:
        """The feed of the target release."""
        return self.root / f"rel-{self.target}"


def build_feeds(
    root: Path,
    *,
    previous: str = "22.12",
    target: str = "23.09",
    package_count: int = 40,
    seed: int = 1,
) -> DemoFeeds:
    """Write rel-<previous>/ and rel-<target>/ below `root`; what was there before is replaced.

    Args:
        root: The directory that holds the feeds.

        previous: The release that sites run.

        target: The release to prestage.

        package_count: Packages of the previous release: 70 % stay, 20 % change, 10 % go; as many as go are new.

        seed: Decides sizes and bytes.
    """
    old = _packages(package_count, seed)
    removed_count = max(1, package_count // 10)
    changed_count = max(1, package_count // 5)
    kept = old[removed_count:]
    changed = [
        DemoPackage(name=package.name, version="2.0", size_bytes=package.size_bytes + 512)
        for package in kept[:changed_count]
    ]
    new = [
        DemoPackage(name=f"{package.name}-ng", version="1.0", size_bytes=package.size_bytes)
        for package in old[:removed_count]
    ]
    write_feed(root / f"rel-{previous}", old, seed=seed)
    write_feed(root / f"rel-{target}", [*changed, *kept[changed_count:], *new], seed=seed)
    return DemoFeeds(
        root=root,
        previous=previous,
        target=target,
        unchanged_count=len(kept) - changed_count,
        changed_count=changed_count,
        new_count=removed_count,
        removed_count=removed_count,
    )


def write_feed(directory: Path, packages: Iterable[DemoPackage], *, seed: int = 1) -> None:
    """Write package files and their metadata; an existing feed is replaced."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "Packages").mkdir(parents=True)
    ordered = sorted(packages, key=lambda package: package.file_name)
    for package in ordered:
        (directory / "Packages" / package.file_name).write_bytes(package.content(seed))
    write_metadata(directory, ordered)


def write_metadata(directory: Path, packages: Iterable[DemoPackage]) -> None:
    """Write repodata/ for the package files as they are now."""
    repodata = directory / "repodata"
    shutil.rmtree(repodata, ignore_errors=True)
    repodata.mkdir()
    entries = [_primary_entry(directory, package) for package in packages]
    primary = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<metadata xmlns="http://linux.duke.edu/metadata/common" '
        f'xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="{len(entries)}">\n'
        + "".join(entries)
        + "</metadata>\n"
    ).encode()
    packed = gzip.compress(primary, mtime=0)
    name = f"{_sha256(packed)}-primary.xml.gz"
    (repodata / name).write_bytes(packed)
    (repodata / "repomd.xml").write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<repomd xmlns="http://linux.duke.edu/metadata/repo">\n'
        "  <revision>1</revision>\n"
        '  <data type="primary">\n'
        f'    <checksum type="sha256">{_sha256(packed)}</checksum>\n'
        f'    <open-checksum type="sha256">{_sha256(primary)}</open-checksum>\n'
        f'    <location href="repodata/{name}"/>\n'
        "    <timestamp>1</timestamp>\n"
        f"    <size>{len(packed)}</size>\n"
        f"    <open-size>{len(primary)}</open-size>\n"
        "  </data>\n"
        "</repomd>\n",
        encoding="utf-8",
    )


def _packages(count: int, seed: int) -> list[DemoPackage]:
    sizes = random.Random(seed)
    names = [f"{subject}-{part}" for part in PARTS for subject in SUBJECTS]
    names += [f"extra-{number:03d}" for number in range(len(names), count)]
    return [
        DemoPackage(name=name, version="1.0", size_bytes=sizes.randint(SMALLEST_BYTES, LARGEST_BYTES))
        for name in names[:count]
    ]


def _primary_entry(directory: Path, package: DemoPackage) -> str:
    content = (directory / "Packages" / package.file_name).read_bytes()
    return (
        '  <package type="rpm">\n'
        f"    <name>{package.name}</name>\n"
        "    <arch>x86_64</arch>\n"
        f'    <version epoch="0" ver={quoteattr(package.version)} rel="1"/>\n'
        f'    <checksum type="sha256" pkgid="YES">{_sha256(content)}</checksum>\n'
        f"    <summary>Made-up package {package.name}</summary>\n"
        "    <description/>\n"
        "    <packager/>\n"
        "    <url/>\n"
        '    <time file="1" build="1"/>\n'
        f'    <size package="{len(content)}" installed="{len(content)}" archive="{len(content)}"/>\n'
        f"    <location href={quoteattr('Packages/' + package.file_name)}/>\n"
        "    <format><rpm:license>Apache-2.0</rpm:license></format>\n"
        "  </package>\n"
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
