"""The whole way: from an HTTP command to files on a site behind SSH with passwords, and no trace of them after."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from pathlib import Path

import psutil

from tests.acceptance.sites.ssh_controller import END_S, STRATEGY, SshController
from tests.support.ssh_server import SshServer
from tests.support.waiting import wait_for


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


def test_a_site_is_prestaged_over_ssh_and_no_password_stays(controller: SshController, server: SshServer) -> None:
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


def test_a_wrong_password_fails_with_the_reason(controller: SshController) -> None:
    """A password that the site refuses fails the step; its details name the phase and the cause, not the password."""
    controller.add("edge")

    step = controller.run_strategy("not-the-password")["edge"]

    assert "failed" == step["state"]
    assert step["details"].startswith("prestaging-packages: Prestaging packages failed for subcloud edge")
    assert "ermission denied" in step["details"] or "password" in step["details"].lower()
    controller.service.stop()
    assert [] == places_with(b"not-the-password", controller.root)


def test_a_dead_site_fails_without_holding_others_up(controller: SshController, server: SshServer) -> None:
    """A site that refuses connections fails and says it was unreachable; the site beside it is prestaged."""
    controller.add("edge")
    controller.add("gone", ansible_port=1)

    steps = controller.run_strategy(server.password)

    assert "complete" == steps["edge"]["state"]
    assert "failed" == steps["gone"]["state"]
    assert "onnect" in steps["gone"]["details"]
