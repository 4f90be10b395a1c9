"""The units of systemd: every word is one of systemd's, what they start exists, and nobody gets more than is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cli.command_table import application
from messages.requests.base import parse_request
from messages.requests.rollout import RolloutOptions
from service.readiness_reporter import BEAT_S
from service.settings import Settings
from tests.support.waiting import PATIENCE_S
from tests.unit.deploy.deploy_files import ROOT

UNITS = sorted((ROOT / "deploy/systemd").iterdir())
OURS = [unit for unit in UNITS if "User=prestager" in unit.read_text()]
# What an operator may be asked to bear; 10 is a service without any limits.
EXPOSURE = 2.0


def values(unit: Path, name: str) -> list[str]:
    """Return all values of a directive."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), flags=re.MULTILINE)


def names(paths: list[Path]) -> list[str]:
    """Return the names of files, to tell tests by."""
    return [path.name for path in paths]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_them(tmp_path: Path) -> None:
    """Systemd knows every directive and value; the one thing that it misses is the program, which is not here."""
    for unit in UNITS:
        shutil.copy(unit, tmp_path)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / unit.name for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
    )

    complaints = [line for line in done.stderr.splitlines() if "prestager" in line]
    assert [] == [line for line in complaints if "bin/prestager is not executable" not in line]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", OURS, ids=names(OURS))
def test_the_sandbox_is_tight(unit: Path) -> None:
    """Systemd itself judges what a service may do, from 0 (nothing) to 10 (everything)."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    judged = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)

    assert judged is not None, done.stderr
    assert float(judged[1]) <= EXPOSURE


@pytest.mark.parametrize("unit", OURS, ids=names(OURS))
def test_what_is_started_exists(unit: Path) -> None:
    """The command is one of the program's, and each variable that is set is a setting."""
    [line] = values(unit, "ExecStart")
    program, verb, *options = line.split()
    command: Any = application()

    assert "/opt/prestager/current/bin/prestager" == program
    assert {option for option in options if option.startswith("--")} <= {
        name for parameter in command.commands[verb].load().params for name in parameter.opts
    }
    proposed = re.findall(r"(?m)^#Environment=(.*)$", unit.read_text())
    variables = {value.partition("=")[0] for value in [*values(unit, "Environment"), *proposed]}
    known = {f"PRESTAGER_{field.upper()}" for field in Settings.model_fields}
    assert variables <= known | {"PRESTAGER_CONFIG"}


@pytest.mark.parametrize("unit", OURS, ids=names(OURS))
def test_a_stop_is_waited_for(unit: Path) -> None:
    """A stop has more time than a caller may wait, and signs of life come often enough for the watchdog."""
    [stop], [watchdog] = values(unit, "TimeoutStopSec"), values(unit, "WatchdogSec")

    assert int(stop) > Settings.model_fields["command_timeout_s"].default
    assert int(watchdog) >= 3 * BEAT_S
    assert ["notify"] == values(unit, "Type")
    assert ["on-failure"] == values(unit, "Restart")
    assert ["0"] == values(unit, "StartLimitIntervalSec")


@pytest.mark.parametrize("unit", OURS, ids=names(OURS))
def test_memory_stays_within_bounds_and_out_of_files(unit: Path) -> None:
    """No process leaves a core file, the kernel ends single processes only, and other services keep their memory."""
    assert ["0"] == values(unit, "LimitCORE")
    assert ["continue"] == values(unit, "OOMPolicy")
    assert [] != values(unit, "MemoryHigh")


def test_units_know_each_other() -> None:
    """Every unit of ours that is named is there."""
    known = set(names(UNITS))
    for unit in UNITS:
        for name in re.findall(r"prestager[\w@-]*\.(?:service|target|timer)", unit.read_text()):
            assert re.sub(r"@\w+\.", "@.", name) in known, name


def test_the_settings_of_a_new_installation() -> None:
    """Every line of the settings' file, commented out or not, is a setting; the key's file is the installer's."""
    text = (ROOT / "deploy/etc/prestager.toml").read_text()
    given = tomllib.loads(re.sub(r"(?m)^#(?=\S)", "", text))

    assert given.keys() <= Settings.model_fields.keys()
    assert {"release", "listen", "data_dir", "secret_key_file"} <= given.keys()
    assert parse_request(RolloutOptions, given["rollout"]).given() == given["rollout"]


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed")
def test_logrotate_takes_its_file(tmp_path: Path) -> None:
    """Logrotate reads the file without a complaint."""
    copy = tmp_path / "prestager"
    copy.write_text((ROOT / "deploy/logrotate/prestager").read_text())
    copy.chmod(0o644)
    done = subprocess.run(
        [shutil.which("logrotate"), "--debug", "--state", tmp_path / "state", copy],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert 0 == done.returncode
    assert "error:" not in done.stderr
