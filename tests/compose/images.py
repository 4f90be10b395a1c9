"""Stand-ins, made from Debian's packages, for the images that ours is built upon and runs beside; nothing is pulled."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.compose.engine import Engine, EngineUnavailableError

# Directory below images/ → what it stands in for. Grafana is no package of Debian: nothing stands in for it.
STAND_INS: Final = {
    "python": "docker.io/library/python:3.11-slim-bookworm",
    "rabbitmq": "docker.io/library/rabbitmq:3.13-management",
    "postgres": "docker.io/library/postgres:15-bookworm",
    "prometheus": "docker.io/prom/prometheus:v2.53.4",
}
_BASE: Final = "localhost/prestager-test/debian"
_SUITE: Final = "bookworm"
# Where a build finds what this machine knows of package indexes.
_INPUTS: Final = "/mnt/build"
_PIP_KEYS: Final = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
_PLACES: Final = Path(__file__).parent / "images"
_BUILD_S: Final = 900.0


def build_stand_ins(engine: Engine) -> None:
    """Build the stand-ins; what is built already is not built again."""
    if not _exists(engine, _BASE):
        _build_base(engine)
    with build_inputs() as arguments:
        for name, image in STAND_INS.items():
            label = f"content={_content(_PLACES / name)}"
            if label not in _labels(engine, image):
                print(f"compose-test: building a stand-in for {image}", flush=True)  # noqa: T201
                options = ["--quiet", "--label", label, "--tag", image, *arguments]
                engine.podman("build", *options, _PLACES / name, timeout_s=_BUILD_S)


@contextmanager
def build_inputs() -> Iterator[list[str]]:
    """Give the arguments of a build that show it this machine's package indexes and authorities.

    They are mounted for the time of the build: nothing of them is in an image.
    """
    with tempfile.TemporaryDirectory() as place:
        inputs = Path(place)
        lines = ["[global]", "disable-pip-version-check = true", f"cert = {_INPUTS}/ca.pem"]
        lines += [f"{key} = {value}" for key, value in _pip_settings().items()]
        (inputs / "pip.conf").write_text("\n".join(lines) + "\n")
        shutil.copy(_authorities(), inputs / "ca.pem")
        yield ["--volume", f"{inputs}:{_INPUTS}:ro"]


def _build_base(engine: Engine) -> None:
    mirror = os.environ.get("PRESTAGER_DEBIAN_MIRROR") or _debian_mirror()
    print("compose-test: making a Debian to build upon, once", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(dir=engine.directory) as place:
        root = Path(place, "root")
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", _SUITE, root, mirror]
        engine.run(command, timeout_s=_BUILD_S)
        # The build's own, see `build_inputs`; afterwards it names nothing.
        (root / "etc" / "pip.conf").symlink_to(f"{_INPUTS}/pip.conf")
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        archive = Path(place, "root.tar")
        engine.run(["tar", "--directory", root, "--create", "--file", archive, "."])
        engine.podman("import", archive, _BASE)


def _exists(engine: Engine, image: str) -> bool:
    return engine.run(["podman", "image", "exists", image], check=False).returncode == 0


def _labels(engine: Engine, image: str) -> list[str]:
    if not _exists(engine, image):
        return []
    return [f"{name}={value}" for name, value in (engine.inspect("image", image)["Labels"] or {}).items()]


def _content(place: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(place.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _debian_mirror() -> str:
    """Return the first address that apt gets this suite from."""
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)"]
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        site, _, suite = line.partition(" ")
        if suite == _SUITE and site.startswith("http"):
            return site
    raise EngineUnavailableError(
        f"apt of this machine names no mirror of Debian {_SUITE}; name one: PRESTAGER_DEBIAN_MIRROR"
    )


def _pip_settings() -> dict[str, str]:
    """Return what pip of this machine is told of indexes; directories of this machine are left out."""
    printed = subprocess.run(["python3", "-m", "pip", "config", "list"], check=False, capture_output=True, text=True)
    found: dict[str, str] = {}
    for line in printed.stdout.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        words = [word for word in value.strip("'\"").split() if not word.startswith(("file:", "/"))]
        if key in _PIP_KEYS and words:
            found[key] = " ".join(words)
    return found


def _authorities() -> Path:
    given = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if given is None or not Path(given).is_file():
        raise EngineUnavailableError("No certificate authorities were found; name their file: SSL_CERT_FILE")
    return Path(given)
