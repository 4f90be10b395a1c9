"""Makes feeds as operators do: rpms of rpmbuild, laid out in different ways, metadata of both lines of createrepo_c."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

SPEC = """
Name: %{name_}
Version: %{version_}
Release: 1
Summary: Made for a test
License: Apache-2.0
BuildArch: noarch
%description
Made for a test.
%install
mkdir -p %{buildroot}/usr/share
echo %{name_} %{version_} > %{buildroot}/usr/share/%{name_}
%files
/usr/share/%{name_}
"""
# Debian's 0.17, and the one of the lock, whose metadata is packed with zstd.
PROGRAMS = {"0.17": Path("/usr/bin/createrepo_c"), "1.x": Path(sys.executable).parent / "createrepo_c"}

# Puts the packages (file names) of a pool into the directory of a feed.
Layout = Callable[[Path, Path, list[str]], None]


def build_packages(directory: Path, names: Mapping[str, str]) -> None:
    """Write one rpm each to `directory` for the names and versions, as NAME-VERSION-1.noarch.rpm."""
    directory.mkdir()
    spec = directory / "package.spec"
    spec.write_text(SPEC)
    for name, version in names.items():
        defines = {"_topdir": directory / "build", "_rpmdir": directory, "_rpmfilename": "%{NAME}-%{VERSION}.rpm"}
        defines |= {"name_": name.rstrip("2"), "version_": version}
        words = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
        subprocess.run(["/usr/bin/rpmbuild", "-bb", "--quiet", *words, str(spec)], check=True, capture_output=True)
    shutil.rmtree(directory / "build")
    spec.unlink()


def make_metadata(directory: Path, program: str, *options: str) -> None:
    """Write the metadata of the feed anew with createrepo_c."""
    shutil.rmtree(directory / "repodata", ignore_errors=True)
    subprocess.run([str(PROGRAMS[program]), "-q", *options, "."], cwd=directory, check=True, capture_output=True)


def flat(feed: Path, pool: Path, names: list[str]) -> None:
    """Lay the packages at the top."""
    for name in names:
        shutil.copy(pool / name, feed / name)


def folder(feed: Path, pool: Path, names: list[str]) -> None:
    """Lay the packages into Packages/."""
    (feed / "Packages").mkdir()
    flat(feed / "Packages", pool, names)


def deep(feed: Path, pool: Path, names: list[str]) -> None:
    """Lay each package into a directory of its own, below one for its first letter."""
    for name in names:
        place = feed / "os" / name[0] / name.removesuffix(".rpm")
        place.mkdir(parents=True)
        flat(place, pool, [name])


def relative_links(feed: Path, pool: Path, names: list[str]) -> None:
    """Link each package to a pool outside of the feed, relatively."""
    (feed / "Packages").mkdir()
    for name in names:
        (feed / "Packages" / name).symlink_to(os.path.relpath(pool / name, feed / "Packages"))


def absolute_links(feed: Path, pool: Path, names: list[str]) -> None:
    """Link each package to a pool outside of the feed, absolutely, at the top."""
    for name in names:
        (feed / name).symlink_to(pool / name)


def linked_folder(feed: Path, pool: Path, names: list[str]) -> None:
    """Link the directory of packages inside of the feed."""
    (feed / "store").mkdir()
    flat(feed / "store", pool, names)
    (feed / "Packages").symlink_to("store")


LAYOUTS: dict[str, Layout] = {
    "flat": flat,
    "folder": folder,
    "deep": deep,
    "relative links": relative_links,
    "absolute links": absolute_links,
    "linked folder": linked_folder,
}
