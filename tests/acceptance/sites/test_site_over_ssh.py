"""The whole way: from an HTTP command to files on a site behind SSH with passwords, and no trace of them after."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from demo.feed import DemoFeeds, build_feeds
from demo.images import build_images
from tests.support.imported_sites import READY, import_sites_at
from tests.support.service_process import ServiceProcess
from tests.support.ssh_server import SshServer, ssh_server
from tests.support.waiting import wait_for

STRATEGY = "/v1.0/sw-update-strategy"
END_S = 90.0


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    """Give a real SSH server with one user who becomes root by password."""
    with ssh_server() as running:
        yield running


class Controller:
    """A controller with two releases, one image list, and one site behind SSH."""

    def __init__(self, root: Path, server: SshServer) -> None:
        self.root = root
        self.server = server
        self.feeds: DemoFeeds = build_feeds(root / "feed", package_count=10)
        build_images(root / "deploy" / self.feeds.target)
        self.backup = root / "site" / "backup"
        self.backup.mkdir(parents=True)
        self.backup.chmod(0o700)
        site_feed = root / "site" / "feed"
        site_feed.mkdir()
        (site_feed / f"rel-{self.feeds.previous}").symlink_to(root / "feed" / f"rel-{self.feeds.previous}")
        self.service = ServiceProcess(
            root,
            RELEASE=self.feeds.target,
            DEPLOY_DIR=root / "deploy",
            FEED_DIR=root / "feed",
            LOG_LEVEL="debug",
        )
        self.service.prepare()
        self.service.start()
        self.answers: list[Any] = []

    def add(self, name: str, **connection: Any) -> None:
        """Register the site under a name."""
        variables = {
            **READY,
            "prestager_software_version": self.feeds.previous,
            **self.server.host_vars(),
            "platform_backup_dir": str(self.backup),
            "site_feed_dir": str(self.root / "site" / "feed" / f"rel-{self.feeds.previous}"),
            "prestage_min_free_bytes": 1024 * 1024,
            **connection,
        }
        import_sites_at(self.service.database_url, {name: variables})

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request that must succeed, and keep the answer for the search for secrets."""
        status, answer = self.service.ask(method, path, body)
        self.answers.append(answer)
        assert status == 200, answer
        return answer

    def run_strategy(self, password: str) -> dict[str, Any]:
        """Create and apply a strategy, wait for its end, and return its steps by subcloud."""
        self.ask("POST", STRATEGY, {"type": "prestage", "sysadmin_password": b64encode(password.encode()).decode()})
        self.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})
        wait_for(lambda: self.ask("GET", STRATEGY)["state"] != "applying", END_S, self.service.tail)
        return {step["cloud"]: step for step in self.ask("GET", f"{STRATEGY}/steps")["strategy-steps"]}


@pytest.fixture
def controller(tmp_path: Path, server: SshServer) -> Iterator[Controller]:
    """Give a running controller."""
    made = Controller(tmp_path, server)
    yield made
    made.service.end()


def places_with(secret: bytes, root: Path) -> list[str]:
    """Return the files below `root` that hold the secret."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path) for path in files if secret in path.read_bytes()]


def processes_with(secret: bytes) -> list[int]:
    """Return the processes that show the secret in their arguments or environment."""
    found = []
    for pid in psutil.pids():
        for name in ("cmdline", "environ"):
            try:
                if pid != os.getpid() and secret in Path(f"/proc/{pid}/{name}").read_bytes():
                    found.append(pid)
            except OSError:
                continue
    return found


def test_a_site_is_prestaged_over_ssh_and_no_password_stays(controller: Controller, server: SshServer) -> None:
    """A strategy brings packages and images onto a site as root by password; the password is found nowhere."""
    controller.add("edge")
    secret = server.password.encode()
    encoded = b64encode(secret)
    seen: list[int] = []

    body = {"type": "prestage", "sysadmin_password": encoded.decode()}
    controller.ask("POST", STRATEGY, body)
    controller.ask("POST", f"{STRATEGY}/actions", {"action": "apply"})

    def ended() -> bool:
        seen.extend(processes_with(secret))
        return bool(controller.ask("GET", STRATEGY)["state"] != "applying")

    wait_for(ended, END_S, controller.service.tail)
    step = controller.ask("GET", f"{STRATEGY}/steps/edge")
    log = controller.ask("GET", f"{STRATEGY}/steps/edge/log?phase=prestaging-packages")

    assert ("complete", "") == (step["state"], step["details"])
    assert "Prestage packages" in log
    release = controller.backup / controller.feeds.target
    assert [True] * 2 == [any(release.rglob(pattern)) for pattern in ("*.rpm", "*image*")]
    assert [] == seen
    answers = json.dumps(controller.answers).encode()
    assert not any(word in answers for word in (secret, encoded))
    controller.service.stop()
    for word in (secret, encoded):
        assert [] == places_with(word, controller.root)


def test_a_wrong_password_fails_with_the_reason(controller: Controller) -> None:
    """A password that the site refuses fails the step; its details name the phase and the cause, not the password."""
    controller.add("edge")

    step = controller.run_strategy("not-the-password")["edge"]

    assert "failed" == step["state"]
    assert step["details"].startswith("prestaging-packages: Prestaging packages failed for subcloud edge")
    assert "ermission denied" in step["details"] or "password" in step["details"].lower()
    controller.service.stop()
    assert [] == places_with(b"not-the-password", controller.root)


def test_a_dead_site_fails_without_holding_others_up(controller: Controller, server: SshServer) -> None:
    """A site that refuses connections fails and says it was unreachable; the site beside it is prestaged."""
    controller.add("edge")
    controller.add("gone", ansible_port=1)

    steps = controller.run_strategy(server.password)

    assert "complete" == steps["edge"]["state"]
    assert "failed" == steps["gone"]["state"]
    assert "onnect" in steps["gone"]["details"]
