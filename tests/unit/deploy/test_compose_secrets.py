"""bin/compose-secrets: the secrets of docker-compose.yml."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from service.key_file import load_sealer
from service.settings import Settings
from tests.support.waiting import PATIENCE_S
from tests.unit.deploy.deploy_files import ROOT, compose


def make(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run(
        [ROOT / "bin" / "compose-secrets", directory], capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory of secrets."""
    directory = tmp_path_factory.mktemp("deploy") / "secrets"
    assert 0 == make(directory).returncode
    return directory


def test_it_makes_what_compose_mounts(made: Path) -> None:
    """Each secret of the file is made, under its name."""
    wanted = {Path(entry["file"]).name for entry in compose()["secrets"].values()}

    assert wanted == {path.name for path in made.iterdir()}


def test_nobody_else_can_look_inside(made: Path) -> None:
    """The directory is its owner's alone; containers get the files themselves, whoever they run as."""
    assert 0o700 == stat.S_IMODE(made.stat().st_mode)
    assert {0o444} == {stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()}


def test_the_program_accepts_them(made: Path) -> None:
    """Both addresses and the key are good settings, and the passwords in them are those of the servers."""
    settings = Settings(
        database_url_file=made / "database-url",
        broker_url_file=made / "broker-url",
        secret_key_file=made / "secret-key",
    )

    assert load_sealer(settings) is not None
    url = make_url(settings.sqlalchemy_url)
    assert (made / "postgres-password").read_text() == url.password
    assert ("postgres", 5432, "prestager") == (url.host, url.port, url.database)
    assert settings.broker_url is not None
    password = settings.broker_url.get_secret_value().split(":")[2].partition("@")[0]
    assert f"default_pass = {password}" in (made / "rabbitmq-account").read_text()


def test_what_is_there_stays(made: Path) -> None:
    """A second run changes nothing and says so: the servers know the old passwords."""
    before = {path.name: path.read_text() for path in made.iterdir()}

    done = make(made)

    assert 1 == done.returncode
    assert "is there already" in done.stderr
    assert before == {path.name: path.read_text() for path in made.iterdir()}


def test_every_installation_has_its_own(made: Path, tmp_path: Path) -> None:
    """Nothing is the same twice, and nothing is printed."""
    done = make(tmp_path / "other")

    for path in made.iterdir():
        other = (tmp_path / "other" / path.name).read_text()
        assert other != path.read_text()
        assert other not in done.stdout + done.stderr
