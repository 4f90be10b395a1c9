"""A system controller for the whole way: releases, images in a real registry, and the parts of the service."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from demo.images import build_image
from simulator.inventory import write_inventory, write_site_urls
from simulator.simulation import Fleet
from tests.support.installation_processes import InstallationProcesses, new_installation
from tests.support.keystone_server import KeystoneServer
from tests.support.tcp_proxy import HOST, free_port
from tests.support.waiting import wait_for

STRATEGY = "/v1.0/sw-update-strategy"
IMAGES = ("keystone", "node-agent")
END_S = 600.0
_START_S = 30.0


@dataclass
class Controller:
    """A running installation; `answers` keeps all it said."""

    processes: InstallationProcesses
    password: str = field(repr=False)
    answers: list[Any] = field(default_factory=list)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request that must succeed and return the answer."""
        status, answer = self.processes.api.ask(method, path, body)
        self.answers.append(answer)
        assert status == 200, answer
        return answer

    def create(self, **fields: Any) -> Any:
        """Create a strategy over the whole fleet."""
        sealed = b64encode(self.password.encode()).decode()
        return self.ask("POST", STRATEGY, {"type": "prestage", "sysadmin_password": sealed, **fields})

    def act(self, action: str) -> None:
        """Apply or abort the strategy."""
        self.ask("POST", f"{STRATEGY}/actions", {"action": action})

    def steps(self) -> dict[str, dict[str, Any]]:
        """Return the steps by subcloud."""
        return {step["cloud"]: step for step in self.ask("GET", f"{STRATEGY}/steps")["strategy-steps"]}

    def wait_for_end(self) -> str:
        """Return the state that the strategy ends in."""
        moving = ("applying", "abort requested", "aborting")
        wait_for(lambda: self.ask("GET", STRATEGY)["state"] not in moving, END_S, self.processes.story)
        return str(self.ask("GET", STRATEGY)["state"])

    def delete(self) -> int:
        """Delete the strategy and return the status of a look at it afterwards."""
        self.ask("DELETE", STRATEGY)
        wait_for(lambda: self.processes.api.get(STRATEGY)[0] == 404, _START_S, self.processes.story)
        return self.processes.api.get(STRATEGY)[0]


@contextmanager
def image_registry(root: Path) -> Iterator[str]:
    """Run an empty registry and give its host and port."""
    address = f"{HOST}:{free_port()}"
    config, log = root / "registry.json", root / "registry.log"
    storage = {"filesystem": {"rootdirectory": str(root / "registry")}}
    config.write_text(json.dumps({"version": "0.1", "storage": storage, "http": {"addr": address}}))
    with log.open("w") as sink, subprocess.Popen(["docker-registry", "serve", config], stdout=sink, stderr=sink) as one:
        try:
            wait_for(lambda: "listening on" in log.read_text() or one.poll() is not None, _START_S, log.read_text)
            yield address
        finally:
            one.kill()


def upload_images(root: Path, registry: str, release: str) -> dict[str, str]:
    """Push images, and give the release the list that names them; return digests by name."""
    digests = {}
    for name in IMAGES:
        image = build_image(root / "push" / name, name)
        target = f"docker://{registry}/stx/{name}:v1"
        command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{image.path}:1.0", target]
        subprocess.run(command, check=True, capture_output=True)
        digests[name] = image.digest
    place = root / "deploy" / release
    place.mkdir(parents=True)
    (place / "prestage_images_list.txt").write_text("".join(f"docker://{registry}/stx/{name}:v1\n" for name in IMAGES))
    return digests


@contextmanager
def running_controller(root: Path, fleet: Fleet, keystone: KeystoneServer, **settings: object) -> Iterator[Controller]:
    """Run API, coordinator and worker, which read facts at the sites, with the fleet imported.

    Callers are known by Keystone; the caller of these tests is a configurator.
    """
    inventory, urls = root / "inventory.yml", root / "site-urls.toml"
    write_inventory(fleet, inventory, max_parallel=8)
    write_site_urls(fleet, urls)
    document = yaml.safe_load(inventory.read_text())
    document["all"]["vars"]["prestage_registry_tls_verify"] = False
    inventory.write_text(yaml.safe_dump(document))
    processes = new_installation(
        root,
        DEPLOY_DIR=root / "deploy",
        INSPECTOR="sysinv",
        CONTROLLER_CHECK="declared",
        SITE_PASSWORD_FILE=fleet.sites[0].ssh.password_file,
        SITE_CA_FILE=fleet.ca_file,
        SITE_URLS_FILE=urls,
        AUTH="keystone",
        KEYSTONE_AUTH_URL=keystone.url,
        KEYSTONE_USERNAME=keystone.service_user,
        KEYSTONE_PASSWORD=keystone.password,
        KEYSTONE_PROJECT="services",
        **settings,
    )
    processes.api.token = keystone.token("configurator")
    try:
        processes.api.command("subcloud", "import", str(inventory))
        processes.api.start("api")
        processes.part("coordinator", "one")
        processes.part("worker", "one")
        yield Controller(processes, fleet.password)
    finally:
        processes.end()
