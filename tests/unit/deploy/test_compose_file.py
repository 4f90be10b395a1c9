"""docker-compose.yml and the Dockerfile fit the program and give nobody more than is needed.

`make compose-test` runs it under an engine; what can be seen on paper is looked for on paper, in milliseconds.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from cli.command_table import application
from service.settings import Settings
from tests.unit.deploy.deploy_files import ROOT, compose, ours, services, source_of

OURS = sorted(ours())
ALL = sorted(services())
# What the Compose specification allows and we use; anything else is a mistake in writing.
KEYS = {
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "networks",
    "ports",
    "profiles",
    "read_only",
    "restart",
    "secrets",
    "security_opt",
    "shm_size",
    "stop_grace_period",
    "stop_signal",
    "tmpfs",
    "ulimits",
    "user",
    "volumes",
}


def strings(value: Any) -> Iterator[str]:
    """Return every text in a document, keys included."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from strings(name)
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, str):
        yield value


def seconds(text: str) -> int:
    """Return a duration that is written in seconds."""
    assert text.endswith("s")
    return int(text[:-1])


@pytest.mark.parametrize("name", ALL)
def test_every_word_is_one_of_compose(name: str) -> None:
    """A service has only keys that Compose knows, and what it depends on and mounts exists."""
    document, service = compose(), services()[name]

    assert set(service) <= KEYS
    assert {source_of(one) for one in service.get("secrets", [])} <= set(document["secrets"])
    assert set(service.get("depends_on", {})) <= set(document["services"])
    assert set(service["networks"]) <= set(document["networks"])
    sources = {volume.partition(":")[0] for volume in service.get("volumes", [])}
    assert {source for source in sources if source[0] not in "./"} <= set(document["volumes"])
    assert all((ROOT / source).is_file() for source in sources if source.startswith("./"))


@pytest.mark.parametrize("name", ALL)
def test_both_engines_take_what_is_mounted(name: str) -> None:
    """A tmpfs has no owner, which Podman refuses, and none is below /run, over which Podman has one of its own.

    No target goes through a link: Podman would take the owner of a volume from the machine's directory of that name.
    """
    service = services()[name]

    for mount in service.get("tmpfs", []):
        place, _, options = mount.partition(":")
        assert not place.startswith(("/run", "/var/run"))
        assert {"mode", "size", "noexec"} == {option.partition("=")[0] for option in options.split(",")}
        assert "mode=1777" in options
    assert not [volume for volume in service.get("volumes", []) if ":/var/run" in volume]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name: str) -> None:
    """Each PRESTAGER_ variable is a setting of the program, with a value that it accepts in form."""
    environment = ours()[name]["environment"]
    known = {f"PRESTAGER_{field.upper()}" for field in Settings.model_fields}

    assert set(environment) <= known
    plain = {name.removeprefix("PRESTAGER_").lower(): str(value) for name, value in environment.items()}
    Settings(**{name: value for name, value in plain.items() if not name.endswith("_file")})


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str) -> None:
    """Each service runs a command that the program has."""
    command: Any = application()
    for word in ours()[name]["command"]:
        assert word in command.commands
        command = command.commands[word]


@pytest.mark.parametrize("name", ALL)
def test_nobody_is_root(name: str) -> None:
    """Each container runs as a user without rights, on a root file system that it cannot write."""
    service = services()[name]

    assert service["user"] not in ("", "root", "0", "0:0")
    assert service["read_only"] is True
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@pytest.mark.parametrize("name", [*OURS, "postgres", "rabbitmq"])
def test_memory_stays_out_of_files(name: str) -> None:
    """No process that knows passwords leaves a core file, for it would hold them."""
    assert 0 == services()[name]["ulimits"]["core"]


def test_the_user_is_that_of_the_image() -> None:
    """The image's user and the one that Compose names are the same; the program makes its data directory itself."""
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert {"10001:10001"} == {service["user"] for service in ours().values()}
    assert "USER 10001:10001" in dockerfile
    assert "--uid 10001" in dockerfile
    assert {"/tmp/prestager"} == {service["environment"]["PRESTAGER_DATA_DIR"] for service in ours().values()}  # noqa: S108
    assert "--home-dir /tmp" in dockerfile


@pytest.mark.parametrize("name", sorted(set(ALL) - {"schema"}))
def test_every_service_is_watched(name: str) -> None:
    """What should run is started again, has a health check, and has time to end in order."""
    service = services()[name]

    assert "unless-stopped" == service["restart"]
    assert "CMD" == service["healthcheck"]["test"][0]
    assert seconds(service["healthcheck"]["timeout"]) < seconds(service["healthcheck"]["interval"])
    assert seconds(service["stop_grace_period"]) >= 45


def test_the_api_is_asked_where_it_listens() -> None:
    """The port of the API is the same where it listens, is published, is looked at and is exposed."""
    api = services()["api"]
    port = api["environment"]["PRESTAGER_LISTEN"].rpartition(":")[2]

    assert [f"127.0.0.1:8119:{port}"] == api["ports"]
    assert f"127.0.0.1:{port}/readyz" in api["healthcheck"]["test"][-1]
    assert f"EXPOSE {port}" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ALL)
def test_only_loopback_is_published(name: str) -> None:
    """Nothing can be reached from other machines unless the operator says so."""
    assert all(port.startswith("127.0.0.1:") for port in services()[name].get("ports", []))


@pytest.mark.parametrize("name", ALL)
def test_no_password_is_written_down(name: str) -> None:
    """Whatever is secret comes from a mounted file: no variable holds one, and no address has one in it."""
    service = services()[name]
    for variable, value in service.get("environment", {}).items():
        if re.search("PASS|SECRET|KEY|TOKEN|URL|CREDENTIAL", variable):
            assert variable.endswith("_FILE")
            assert source_of(value.removeprefix("/run/secrets/")) in map(source_of, service["secrets"])

    assert not [text for text in strings(service) if re.search(r"://[^/\s]*:[^/\s]*@", text)]
    assert "args" not in service.get("build", {})


def test_secrets_stay_out_of_repository_and_image() -> None:
    """The directory of secrets is ignored by git and no part of what the image is built from."""
    files = {entry["file"] for entry in compose()["secrets"].values()}

    assert {"./deploy/secrets"} == {file.rpartition("/")[0] for file in files}
    assert "secrets/" in (ROOT / "deploy/.gitignore").read_text().splitlines()
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed
    assert not [line for line in allowed if line.startswith("!") and "deploy" in line]


def test_images_are_named_by_version() -> None:
    """No image is whatever is newest, and ours has the version of the program."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)

    assert {f"prestager:{version}"} == {service["image"] for service in ours().values()}
    for image in [*bases, *(service["image"] for service in services().values())]:
        assert re.search(r":v?\d", image), image


def test_the_image_has_what_the_program_is_made_of() -> None:
    """Every package of the wheel, and nothing but the locked versions, goes into the image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    dockerfile = (ROOT / "Dockerfile").read_text()

    for path in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        assert f"!{path}" in allowed
    assert "--require-hashes -r requirements/$LOCK.txt" in dockerfile
    assert "ARG LOCK=run" in dockerfile
    for lock in ("run", "tracing", "starlingx"):
        assert f"!requirements/{lock}.txt" in allowed
    assert re.search(r"python:3\.11-", dockerfile)


def test_workers_have_room_for_their_runs() -> None:
    """The memory disk of a worker holds the files of as many runs as any machine gets slots."""
    assert "256m" == services()["worker"]["shm_size"]
