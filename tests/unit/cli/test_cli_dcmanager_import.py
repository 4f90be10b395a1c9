"""`prestager config import-dcmanager`: our settings from dcmanager's."""

from __future__ import annotations

import io
import os
import stat
import tomllib
from pathlib import Path

import pytest

from cli.dcmanager_settings import map_dcmanager
from service.settings import Settings

# Written as puppet does; every secret has "hidden" in it.
CONF = """\
[DEFAULT]
transport_url = rabbit://guest:hidden%2FRabbit@[fd01::2]:5672
bind_host = fd01::2
bind_port = 8119
playbook_timeout = 3600
use_syslog = True
workers = 2
auth_strategy = keystone

[database]
connection = postgresql+psycopg2://admin-dcmanager:hidden%40Db@[fd01::2]/dcmanager
max_pool_size = 105

[keystone_authtoken]
auth_url = http://[fd01::2]:5000
auth_type = password
username = dcmanager
password = hidden Key$tone
project_name = services
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne

[endpoint_cache]
auth_uri = http://[fd01::2]:5000/v3
username = dcmanager
password = hiddenSites
project_name = services

[cache]
admin_username = admin
admin_password = hiddenAdmin
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Give dcmanager's configuration."""
    file = tmp_path / "dcmanager.conf"
    file.write_text(CONF)
    return file


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Give our file as the installer leaves it."""
    file = tmp_path / "etc/prestager.toml"
    file.parent.mkdir()
    file.write_text('# Ours.\nretention_days = 30\n#release = "23.09"\n')
    return file


def test_everything_is_mapped() -> None:
    """Each part of the configuration that means something here becomes a setting; secrets are apart from them."""
    mapped = map_dcmanager(CONF)

    assert [] == mapped.faults
    assert {
        "listen": "[fd01::2]:8219",
        "prepare_deadline_s": 3600.0,
        "packages_deadline_s": 3600.0,
        "images_deadline_s": 7200.0,
        "auth": "keystone",
        "keystone_auth_url": "http://[fd01::2]:5000/v3",
        "keystone_username": "dcmanager",
        "keystone_project": "services",
        "keystone_user_domain": "Default",
        "keystone_project_domain": "Default",
        "inspector": "sysinv",
        "controller_keystone_url": "http://[fd01::2]:5000/v3",
        "controller_url": "http://[fd01::2]:5497",
        "dcmanager_url": "http://[fd01::2]:8119/v1.0",
        "site_username": "dcmanager",
        "site_project": "services",
    } == mapped.settings
    assert {
        "broker_url_file": "amqp://guest:hidden%2FRabbit@[fd01::2]:5672/prestager",
        "database_url_file": "postgresql+psycopg://admin-dcmanager:hidden%40Db@[fd01::2]/prestager",
        "keystone_password_file": "hidden Key$tone",
        "site_password_file": "hiddenSites",
    } == mapped.secrets


def test_what_is_not_mapped_is_told() -> None:
    """Each option that is not taken over is named, with the reason where there is one, and never its value."""
    told = "\n".join(map_dcmanager(CONF).notes)

    for option in ("[DEFAULT] workers", "[cache] admin_password", "[database] max_pool_size", "region_name"):
        assert option in told
    assert "hidden" not in told
    assert "createdb --owner='admin-dcmanager' prestager" in told
    assert "rabbitmqctl add_vhost prestager" in told


@pytest.mark.parametrize(
    ("lines", "url"),
    [
        ("bind_host = 192.168.204.2\nbind_port = 9119\n", "http://192.168.204.2:9119/v1.0"),
        ("bind_host = 0.0.0.0\n", "http://[fd01::2]:8119/v1.0"),
        ("", "http://[fd01::2]:8119/v1.0"),
    ],
)
def test_where_dcmanager_is(lines: str, url: str) -> None:
    """The URL is where dcmanager listens; where that is everywhere, or not said, the controller's address."""
    text = CONF.replace("bind_host = fd01::2\nbind_port = 8119\n", lines)

    assert url == map_dcmanager(text).settings["dcmanager_url"]


def test_tls_and_several_brokers() -> None:
    """A broker that is reached by TLS stays so; of several the first is taken, which is told."""
    text = "[DEFAULT]\ntransport_url = rabbit://u:p@one:5671,u:p@two:5671/cell\n[oslo_messaging_rabbit]\nssl = true\n"
    mapped = map_dcmanager(text)

    assert "amqps://u:p@one:5671/prestager" == mapped.secrets["broker_url_file"]
    assert "the first is taken" in "\n".join(mapped.notes)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("/dcmanager\n", "/prestager\n"), "names the database 'prestager'"),
        (("postgresql+psycopg2://", "mysql+pymysql://"), "is of mysql"),
        (("rabbit://", "zmq://"), "transport_url is not an address of RabbitMQ"),
        (("transport_url", "no_url"), "transport_url is missing"),
        (("connection =", "no ="), "connection is missing"),
        (("playbook_timeout = 3600", "playbook_timeout = nan"), "playbook_timeout is not a number"),
        (("[DEFAULT]\n", "hidden\n"), "not the INI file of a service: see line 1"),
    ],
)
def test_what_cannot_be_taken_over(prestager, conf: Path, out: Path, change: tuple[str, str], fault: str) -> None:
    """Whatever is wrong is told without a value, and nothing is written."""
    conf.write_text(CONF.replace(*change))
    before = out.read_text()

    ended = prestager("config", "import-dcmanager", str(conf), "--out", str(out))

    assert 1 == ended.code
    assert fault in ended.err
    assert "hidden" not in ended.err + ended.out
    assert (before, [out]) == (out.read_text(), list(out.parent.iterdir()))


def test_the_files(prestager, conf: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are added to what is there, secrets are files for nobody else, and the program takes them all."""
    ended = prestager("config", "import-dcmanager", str(conf), "--out", str(out), "--release", "24.09")

    assert 0 == ended.code, ended.err
    text = out.read_text()
    assert text.startswith('# Ours.\nretention_days = 30\n#release = "23.09"\n')
    assert "hidden" not in text + ended.out + ended.err
    credentials = out.parent / "credentials"
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in [*credentials.iterdir(), out]}
    assert 0o700 == stat.S_IMODE(credentials.stat().st_mode)
    for name, value in tomllib.loads(text).items():
        assert not name.endswith("_file") or Path(value).is_file()

    monkeypatch.delenv("PRESTAGER_RELEASE")
    monkeypatch.setenv("PRESTAGER_CONFIG", str(out))
    settings = Settings()
    assert settings.sqlalchemy_url.endswith("@[fd01::2]/prestager")
    assert (8219, "24.09", 30) == (settings.listen_port, settings.release, settings.retention_days)


def test_doing_it_again(prestager, conf: Path, out: Path) -> None:
    """Again it changes nothing; after a change it says what differs, and takes it only when told to."""
    arguments = ("config", "import-dcmanager", str(conf), "--out", str(out))
    prestager(*arguments)
    first = out.read_text()
    prestager(*arguments)
    assert first == out.read_text()

    conf.write_text(CONF.replace("3600", "1800").replace("hidden%40Db", "hiddenNew"))
    refused = prestager(*arguments)
    assert (1, first) == (refused.code, out.read_text())
    assert "prepare_deadline_s is set to something else" in refused.err
    secret = out.parent / "credentials/database-url"
    assert "hiddenNew" not in secret.read_text()

    assert 0 == prestager(*arguments, "--replace").code
    assert first.replace("3600.0", "1800.0") == out.read_text()
    assert "hiddenNew" in secret.read_text()


def test_a_file_with_a_table(prestager, conf: Path, out: Path) -> None:
    """Settings are added above the first table of the file, for below its head they would be keys of the table."""
    kept = 'slots = 3\nworker_queues = """\n[prestager]"""\n'
    table = "# Ours.\n[rollout]\nmax-failures = 2\n"
    out.write_text(kept + table)

    assert 0 == prestager("config", "import-dcmanager", str(conf), "--out", str(out)).code

    written = tomllib.loads(out.read_text())
    assert {"max-failures": 2} == written["rollout"]
    assert {"listen", "worker_queues"} <= written.keys()


def test_the_authority_of_the_sites(prestager, conf: Path, out: Path, tmp_path: Path) -> None:
    """The authority of the sites' certificates is set from the option; without it, what is missing is told."""
    arguments = ("config", "import-dcmanager", str(conf), "--out", str(out))
    authority = tmp_path / "ca.pem"
    missing = prestager(*arguments, "--site-ca-file", str(authority))
    assert (1, [out]) == (missing.code, list(out.parent.iterdir()))
    assert f"--site-ca-file {authority} is not a file" in missing.err

    assert "set site_ca_file to the authority" in prestager(*arguments).out
    authority.touch()
    assert 0 == prestager(*arguments, "--site-ca-file", str(authority)).code
    assert str(authority) == tomllib.loads(out.read_text())["site_ca_file"]


def test_root_writes_where_nobody_else_can(prestager, conf: Path, out: Path) -> None:
    """As root nothing is written into a directory in which another user could put a link."""
    if os.getuid():
        pytest.skip("only root writes for others")
    out.parent.chmod(0o777)
    ended = prestager("config", "import-dcmanager", str(conf), "--out", str(out))

    assert 1 == ended.code
    assert f"{out.parent} can be written by other users than root" in ended.err
    assert [out] == list(out.parent.iterdir())
    assert "broker" not in out.read_text()


def test_dry_run(prestager, conf: Path, out: Path) -> None:
    """A dry run tells what would be set and writes nothing."""
    ended = prestager("config", "import-dcmanager", str(conf), "--out", str(out), "--dry-run")

    assert ended.out.startswith("Would set: listen,")
    assert [out] == list(out.parent.iterdir())


def test_a_file_that_cannot_be_read(prestager, tmp_path: Path) -> None:
    """A missing file is told."""
    ended = prestager("config", "import-dcmanager", str(tmp_path / "none.conf"))

    assert (1, True) == (ended.code, "No such file" in ended.err)


@pytest.mark.parametrize("policy", ["accept-new", "strict", "ignore"])
def test_host_keys_by_option(prestager, conf: Path, out: Path, policy: str) -> None:
    """What counts as a host key is taken from the option; a repeat without it keeps the choice and does not ask."""
    arguments = ("config", "import-dcmanager", str(conf), "--out", str(out))
    assert 0 == prestager(*arguments, "--host-keys", policy).code
    again = prestager(*arguments)

    assert policy == tomllib.loads(out.read_text())["host_keys"]
    assert (0, False) == (again.code, "host key" in again.out + again.err)


def test_host_keys_are_asked_for_on_a_terminal(
    prestager, conf: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the three are explained and asked for until one of them is given."""
    terminal = io.StringIO("yes\nstrict\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    ended = prestager("config", "import-dcmanager", str(conf), "--out", str(out))

    assert "strict" == tomllib.loads(out.read_text())["host_keys"]
    assert all(policy in ended.err for policy in ("accept-new", "strict", "ignore"))


def test_host_keys_are_not_asked_for_elsewhere(prestager, conf: Path, out: Path) -> None:
    """Away from a terminal the setting is left out, and what counts then is said."""
    ended = prestager("config", "import-dcmanager", str(conf), "--out", str(out))

    assert (0, False) == (ended.code, "host_keys" in tomllib.loads(out.read_text()))
    assert "--host-keys" in ended.out
