"""`prestager demo`, the whole of it: the main job, from an inventory to staged sites, with real playbooks."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.acceptance.cli.logged_service import LoggedService, clean_environment
from tests.support.waiting import wait_for


def demonstration(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "--dir", str(place), *options],
        env=environment_of(place),
        capture_output=True,
        text=True,
        check=False,
    )


def environment_of(place: Path) -> dict[str, str]:
    """Return variables of an operator whose home directory is beside the demonstration."""
    return clean_environment({}) | {"HOME": str(place.parent), "XDG_CONFIG_HOME": str(place.parent / "config")}


def status_of(place: Path) -> subprocess.CompletedProcess[str]:
    """Run `prestager status` without any option, as that operator."""
    program = [sys.executable, "-m", "cli.main", "status"]
    return subprocess.run(program, env=environment_of(place), capture_output=True, text=True, check=False)


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_whole_demonstration(tmp_path: Path) -> None:
    """Twelve sites end as they must, the service stops, and the command ends by itself."""
    done = demonstration(tmp_path / "demo")

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Every site and the strategy ended as expected." in done.stdout
    assert "stage 2  edge-08  failed: " in done.stdout
    assert 12 == len(site_rows(done.stdout))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_demonstration_that_is_ended_ends_its_service(tmp_path: Path, number: signal.Signals) -> None:
    """The service ends with its demonstration, however that ends; until then no other one clears its directory."""
    place = tmp_path / "demo"
    program = [sys.executable, "-m", "cli.main", "demo", "--dir", str(place), "--quick", "--without-ssh"]
    first = subprocess.Popen(program, env=environment_of(place), stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: "service.ready" in read(place / "service.log"))
        second = demonstration(place, "--quick", "--without-ssh")
        assert 1 == second.returncode
        assert f"A service works in {place}/data" in second.stderr
        (service,) = [one for one in psutil.Process(first.pid).children() if "up" in one.cmdline()]
        first.send_signal(number)
        first.communicate()
    finally:
        first.kill()

    wait_for(lambda: not service.is_running() or service.status() == psutil.STATUS_ZOMBIE)
    assert "service.stopped" in read(place / "service.log")
    assert 0 != first.returncode


@pytest.mark.timeout(600)
def test_the_quick_demonstration(tmp_path: Path) -> None:
    """A site of each kind ends as it must. With --keep service and sites stay until Ctrl-C, each link logs in once.

    Afterwards the service has stopped, and what is left is for the next commands to look at.
    """
    place = tmp_path / "demo"
    program = [sys.executable, "-m", "cli.main", "demo", "--dir", str(place), "--quick", "--keep"]
    kept = subprocess.Popen(program, env=environment_of(place), stdout=subprocess.PIPE, text=True)
    try:
        assert kept.stdout is not None
        printed = "".join(iter(lambda: line_of(kept), "Ctrl-C stops the service and its sites.\n"))
        links = check_links(printed)
        assert f"cat {place}/password" in printed
        assert (place / "password").exists()
        assert "prestager status\n" in printed
        assert "FAILED" in status_of(place).stdout
        kept.send_signal(signal.SIGINT)
        rest, _ = kept.communicate()
    finally:
        kept.kill()

    assert (0, "") == (kept.returncode, rest)
    check_sites(place, printed)
    # The context names the address at which the service listens when it is started again.
    assert "http://127.0.0.1:8119" in (place.parent / "config" / "prestager" / "client.toml").read_text()
    log = read(place / "service.log")
    assert "service.stopped" in log
    assert [] == [code for _, code in links if code in log]
    check_what_is_left(place)


def check_links(printed: str) -> list[tuple[str, str]]:
    """Log in by the links that were printed, and return address and code of each."""
    links = re.findall(r"^  (http://127\.0\.0\.1:\d+)/ui/login#(\S+)$", printed, re.MULTILINE)
    address = links[-1][0]
    assert f"The page is at {address}/ui;" in printed
    assert 2 == len(set(links))
    assert [200, 401, 200] == [log_in(address, code) for code in (links[0][1], links[0][1], links[1][1])]
    with urlopen(f"{address}/ui") as page:
        assert page.headers.get_content_type() == "text/html"
    return links


def check_sites(place: Path, printed: str) -> None:
    """Hold the end of each site, and what it got, against what it must be."""
    assert "Every site and the strategy ended as expected." in printed
    assert "Each is behind an SSH server of its own" in printed
    assert "stage 2  edge-08  failed: " in printed
    # Its password is another one.
    assert "unreachable: the site refused the login sysadmin@127.20.0.3 with this password" in printed
    rows = site_rows(printed)
    assert {"edge-01", "edge-03", "edge-04", "edge-05", "edge-06", "edge-08"} == set(rows)
    assert ["1", "failed", "yes"] == rows["edge-04"][:3]
    assert ["1", "complete", "yes"] == rows["edge-01"]
    assert ["left-out", "yes"] == rows["edge-03"][:2]
    # What the sites were to get is there.
    assert list((place / "sites" / "edge-01" / "backup").rglob("*.rpm"))


def check_what_is_left(place: Path) -> None:
    """Start the service over what is left: the strategy is there, and no site takes any password."""
    service = LoggedService(place, DEPLOY_DIR=str(place / "controller" / "deploy"))
    try:
        status, answer = service.get("/v1.0/sw-update-strategy", (place / "token").read_text().strip())
    finally:
        service.end()
    assert (200, "failed") == (status, answer["state"])
    assert not (place / "password").exists()
    assert "ansible_connection" not in (place / "fleet.yml").read_text()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints, which must not have ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "it ended"
    return line


def log_in(address: str, code: str) -> int:
    """Send the code of a login link as the page does, and return the status of the answer."""
    headers = {"Origin": address, "X-Prestager-UI": "1", "Content-Type": "application/json"}
    request = Request(f"{address}/ui/session", json.dumps({"code": code}).encode(), headers)
    try:
        with urlopen(request) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def read(path: Path) -> str:
    """Return the text of a file; of one that is not there, nothing."""
    return path.read_text() if path.exists() else ""


def test_without_ssh_the_demonstration_says_what_to_install(tmp_path: Path) -> None:
    """A machine without ssh gets one sentence with both ways out, and nothing is made."""
    place = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "demo", "--dir", str(place)],
        env=clean_environment({}) | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (1, False) == (done.returncode, place.exists())
    assert "apt-get install openssh-client" in done.stderr
    assert "prestager demo --without-ssh" in done.stderr
    assert "Traceback" not in done.stderr


def site_rows(printed: str) -> dict[str, list[str]]:
    """Return the table of the end: of each site its other columns."""
    return {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.startswith("edge-")}
