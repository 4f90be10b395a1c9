"""The services of docker-compose.yml, brought up as the file says, and what can be asked of them and done to them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.compose.engine import COMPOSE, Engine, settable_limits
from tests.compose.images import build_inputs
from tests.support.waiting import wait_for

ROOT: Final = Path(__file__).parents[2]
RELEASE: Final = "23.09"
# Of the services that run the image.
USER: Final = 10001
PRESTAGER: Final = ("api", "coordinator", "worker")
OURS: Final = ("schema", *PRESTAGER)
STORES: Final = ("postgres", "rabbitmq")
# Names the directory of a project whose image is built.
PROJECT_VARIABLE: Final = "PRESTAGER_COMPOSE_PROJECT"
_PROJECT: Final = "prestager"
_API: Final = "http://127.0.0.1:8119"
_LEFT_OUT: Final = shutil.ignore_patterns(
    ".git", ".venv*", "var", "secrets", "__pycache__", ".*_cache", "tests", "docs"
)
_BUILD_S: Final = 900.0
_HEALTHY_S: Final = 120.0


@dataclass
class Installation:
    """One project; `directory` is a checkout without what git does not know, and the place of its secrets."""

    engine: Engine
    directory: Path
    token: str = field(default="", repr=False)

    def prepare(self) -> None:
        """Copy the project and make its secrets, and the directories that workers mount."""
        shutil.copytree(ROOT, self.directory, ignore=_LEFT_OUT)
        subprocess.run([self.directory / "bin" / "compose-secrets"], check=True, capture_output=True, timeout=30)
        for place in (self.deploy, self.feed):
            place.mkdir()
        limits = {"core": 0, **settable_limits()}
        # Only where the machine must be told; elsewhere the file is taken as it is.
        services = {name: {"ulimits": limits} for name in (*OURS, *STORES, "prometheus")} if len(limits) > 1 else {}
        self._limits.write_text(json.dumps({"services": services or {"api": {}}}))

    @property
    def deploy(self) -> Path:
        """Directory that workers see as /opt/platform/deploy."""
        return self.directory.with_name("deploy")

    @property
    def feed(self) -> Path:
        """Directory that workers see as /var/www/pages/feed."""
        return self.directory.with_name("feed")

    @property
    def inventory(self) -> Path:
        """Inventory of the sites."""
        return self.directory.with_name("inventory.yml")

    @property
    def secrets(self) -> dict[str, str]:
        """Content of the secrets by name."""
        return {file.name: file.read_text() for file in (self.directory / "deploy" / "secrets").iterdir()}

    def build(self) -> None:
        """Build the image as the file says."""
        with build_inputs() as arguments:
            self.compose(f"--podman-build-args={' '.join(arguments)}", "build", timeout_s=_BUILD_S)

    def compose(self, *arguments: str, timeout_s: float = _HEALTHY_S) -> str:
        """Run podman-compose and return what it printed."""
        files = ["-f", "docker-compose.yml", "-f", str(self._limits)]
        return self.engine.run(
            [COMPOSE, "-p", _PROJECT, *files, *arguments],
            directory=self.directory,
            timeout_s=timeout_s,
            PRESTAGER_RELEASE=RELEASE,
            PRESTAGER_DEPLOY=str(self.deploy),
            PRESTAGER_FEED=str(self.feed),
        ).stdout

    def up(self) -> None:
        """Bring everything up, with one worker, and wait until it is healthy.

        In the order of docs/containers.md for podman before 4.6, which waits for no health and loses its way in what
        depends on what.
        """
        self.compose("up", "--detach", "--no-deps", *STORES)
        for name in STORES:
            self.wait_for_health(name)
        self.compose("run", "--rm", "--no-deps", "schema")
        self.compose("up", "--detach", "--no-deps", "api", "coordinator", "worker")
        for name in PRESTAGER:
            self.wait_for_health(name)

    def scale(self, workers: int) -> None:
        """Add workers to those that run until there are so many, and wait until all are healthy."""
        self.compose("up", "--detach", "--no-deps", "--no-recreate", "--scale", f"worker={workers}", "worker")
        for number in range(1, workers + 1):
            self.wait_for_health("worker", number)

    def down(self) -> None:
        """End and remove everything that the file describes, with its volumes and the workers that were added."""
        self.compose("--profile", "monitoring", "down", "--volumes", "--remove-orphans")

    def leftovers(self) -> str:
        """Return the names of containers, pods and volumes that are still there, of whatever project."""
        kinds = {"container": "{{.Names}}", "pod": "{{.Name}}", "volume": "{{.Name}}"}
        found = {
            kind: self.engine.podman(kind, "ls", *(["--all"] if kind == "container" else []), "--format", name)
            for kind, name in kinds.items()
        }
        return "; ".join(f"{kind} {' '.join(names.split())}" for kind, names in found.items() if names.strip())

    def is_healthy(self, service: str, number: int = 1) -> bool:
        """Run the health check of the file once; podman itself has it run by systemd."""
        command = ["podman", "healthcheck", "run", container(service, number)]
        return self.engine.run(command, check=False).returncode == 0

    def wait_for_health(self, service: str, number: int = 1) -> None:
        """Return when the health check succeeds."""
        wait_for(lambda: self.is_healthy(service, number), _HEALTHY_S, lambda: self.log(service, number))

    def kill(self, service: str, number: int = 1) -> None:
        """Kill the container's first process as a crash does, and wait until the engine has started it anew."""
        name = container(service, number)
        pid = self._pid(name)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self._pid(name) not in (0, pid), _HEALTHY_S, lambda: self.log(service, number))

    def execute(self, service: str, *command: str, number: int = 1) -> str:
        """Run a command in a container and return what it printed."""
        return self.engine.podman("exec", container(service, number), *command)

    def fails(self, service: str, *command: str) -> bool:
        """Tell whether a command in a container fails."""
        return self.engine.run(["podman", "exec", container(service), *command], check=False).returncode != 0

    def status(self, service: str, number: int = 1) -> dict[str, str]:
        """Return what the kernel says of a container's first process, as /proc/PID/status has it."""
        lines = Path(f"/proc/{self._pid(container(service, number))}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def limits(self, service: str) -> str:
        """Return the limits of a container's first process."""
        return Path(f"/proc/{self._pid(container(service))}/limits").read_text()

    def inspect(self, service: str, number: int = 1) -> dict[str, Any]:
        """Return what podman knows of a container."""
        found: dict[str, Any] = self.engine.inspect("container", container(service, number))
        return found

    def log(self, service: str, number: int = 1) -> str:
        """Return the end of a container's log."""
        command = ["podman", "logs", "--tail", "60", container(service, number)]
        return self.engine.run(command, check=False).stdout

    def create_token(self) -> None:
        """Make the token of an operator as the head of docker-compose.yml says."""
        printed = self.compose("run", "--rm", "-T", "--no-deps", "api", "token", "create", "ops", "--role", "admin")
        match = re.search(r"^[\w-]{30,}$", printed, flags=re.MULTILINE)
        assert match is not None, f"no token was printed, but {len(printed)} characters"
        self.token = match[0]

    def import_inventory(self, file: Path) -> str:
        """Register the sites of an inventory."""
        mount = f"{file}:/inventory.yml:ro"
        return self.compose(
            "run", "--rm", "-T", "--no-deps", "-v", mount, "api", "subcloud", "import", "/inventory.yml"
        )

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request that must succeed and return the answer."""
        request = Request(
            f"{_API}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Auth-Token": self.token, "Accept": "application/json"},
        )
        with urlopen(request, timeout=40) as response:
            return json.load(response)

    def ask_until(self, path: str, deadline_s: float = _HEALTHY_S) -> Any:
        """Return an answer, asking again while the API cannot give one."""
        begin = monotonic()
        while True:
            try:
                return self.ask("GET", path)
            except (URLError, ConnectionError, TimeoutError):
                assert monotonic() - begin < deadline_s, self.log("api")
                wait_for(lambda: self.is_healthy("api"), deadline_s, lambda: self.log("api"))

    def _pid(self, name: str) -> int:
        return int(self.engine.inspect("container", name)["State"]["Pid"])

    @property
    def _limits(self) -> Path:
        return self.directory / "limits-of-this-machine.json"


def container(service: str, number: int = 1) -> str:
    """Return the name of a service's container."""
    return f"{_PROJECT}_{service}_{number}"
