"""`prestager demo`, the whole of it: the main job, from an inventory to staged sites, with real playbooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from service_process import ServiceProcess, clean_environment


@pytest.mark.timeout(600)
def test_the_demonstration(tmp_path: Path) -> None:
    """Twelve sites end as they must, the service stops, and what is left can be looked at with the next commands."""
    place = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "--dir", str(place)],
        env=clean_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Every site and the strategy ended as expected." in done.stdout
    assert "Each is behind an SSH server of its own" in done.stdout
    assert "stage 4  edge-08  failed: " in done.stdout
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line.startswith("edge-")}
    assert 12 == len(rows)
    assert ["1", "complete", "yes"] == rows["edge-01"]
    assert ["left-out", "yes"] == rows["edge-03"][:2]
    # What the sites were to get is there.
    assert list((place / "sites" / "edge-01" / "backup").rglob("*.rpm"))
    service = ServiceProcess(place, DEPLOY_DIR=str(place / "controller" / "deploy"))
    try:
        status, answer = service.get("/v1.0/sw-update-strategy", (place / "token").read_text().strip())
    finally:
        service.end()
    assert (200, "failed") == (status, answer["state"])
    # The servers have ended and their password is gone; the sites are left as directories, for the next commands.
    assert not (place / "password").exists()
    assert "local" == yaml.safe_load((place / "fleet.yml").read_text())["all"]["vars"]["ansible_connection"]
