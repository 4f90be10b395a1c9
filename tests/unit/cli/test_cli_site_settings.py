"""What must be set before sites, and the controller, are asked over REST."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.doctor.controller_checks import dcmanager_findings, site_findings
from cli.doctor.finding import Level
from service.errors import StartError
from service.settings import Settings
from service.site_access import dcmanager_operations, probe_factory, site_inspector
from service.startup_checks import site_faults
from simulator.site_spec import Account, SiteSpec
from sites.dcmanager import DcmanagerOperations
from tests.support.server_certificates import make_certificate
from tests.support.simulated_sites import sites_in_thread

Make = Callable[..., Settings]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Give a function that makes settings which ask sites and are complete, but for what is changed."""
    password = tmp_path / "password"
    password.write_text("pw")
    authority, _ = make_certificate(tmp_path)
    given = {
        "inspector": "sysinv",
        "site_ca_file": authority,
        "site_password_file": password,
        "controller_keystone_url": "http://192.0.2.1:5000/v3/",
        "controller_url": "http://192.0.2.1:5497",
    }
    return lambda **changed: Settings(**{**given, **changed})


def test_complete_settings(make: Make) -> None:
    """With everything set there is nothing to complain about, and USM is what is asked."""
    assert ([], "usm") == (site_faults(make()), make().controller_asked)


def test_complete_settings_of_dcmanager(make: Make) -> None:
    """A dcmanager is asked at the controller's Keystone with the controller's account, whatever the inspector is."""
    settings = make(inspector="declared", controller_url=None, dcmanager_url="http://192.0.2.1:8119/v1.0/")

    assert [] == site_faults(settings)
    assert isinstance(dcmanager_operations(settings), DcmanagerOperations)
    assert dcmanager_operations(make()) is None


@pytest.mark.parametrize("value", ["http://h:8119", "http://h:8119/", "http://h:8119/v1.0", "http://h:8119/v1.0/"])
def test_the_version_of_dcmanagers_api(make: Make, value: str) -> None:
    """An address without a path gets the version of the API, without which dcmanager has no subclouds."""
    assert "http://h:8119/v1.0" == make(dcmanager_url=value).dcmanager_url


@pytest.mark.parametrize(
    ("listen", "url", "is_own"),
    [
        ("127.0.0.1:8219", "http://127.0.0.1:8219/v1.0", True),
        ("0.0.0.0:8219", "http://127.0.0.1:8219/v1.0", True),
        ("[::]:8219", "http://localhost:8219/v1.0", True),
        ("[::1]:443", "https://[::1]/v1.0", True),
        ("127.0.0.1:8219", "http://127.0.0.1:8119/v1.0", False),
        ("127.0.0.1:8119", "http://127.0.0.2:8119/v1.0", False),
        ("0.0.0.0:8119", "http://192.0.2.1:8119/v1.0", False),
    ],
)
def test_the_address_of_this_prestager(make: Make, listen: str, url: str, is_own: bool) -> None:
    """An address that is our own is no dcmanager's: the service does not start with it."""
    faults = site_faults(make(listen=listen, dcmanager_url=url))

    assert is_own is any("gives to this Prestager itself" in fault for fault in faults)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "192.0.2.1:8119",
            "ftp://h/v1.0",
            "http://",
            "http://u:hunter2@h/",
            "http://h:x/",
            "http://h:0/",
            "http://[h/",
        ),
        *("http://h:8119/v1.0 ", " http://h/v1.0", "http://h h/v1.0", "http://h/v1.0\n"),
    ],
)
def test_what_is_no_address_of_dcmanager(prestager, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """What is no address is told with an example, without its value."""
    monkeypatch.setenv("PRESTAGER_DCMANAGER_URL", value)
    ended = prestager("config", "check")

    assert (1, True) == (
        ended.code,
        "PRESTAGER_DCMANAGER_URL is not the address of dcmanager's API such as" in ended.err,
    )
    assert "hunter2" not in ended.err + ended.out


def test_nobody_is_asked_by_default() -> None:
    """Without settings nobody is asked, so nothing is needed."""
    settings = Settings()

    assert ([], None, False) == (site_faults(settings), settings.controller_asked, settings.asks_sites)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"site_password_file": None}, "Set PRESTAGER_SITE_PASSWORD_FILE"),
        ({"site_password_file": Path("/nowhere")}, "The password of the account cannot be read from /nowhere."),
        ({"site_password": "hunter2"}, "Set either PRESTAGER_SITE_PASSWORD or PRESTAGER_SITE_PASSWORD_FILE, not both."),
        ({"site_ca_file": None}, "Set PRESTAGER_SITE_CA_FILE to the authority"),
        (
            {"inspector": "declared", "probe": True, "probe_kind": "sysinv", "site_ca_file": None},
            "Set PRESTAGER_SITE_CA",
        ),
        ({"site_ca_file": Path("/nowhere")}, "PRESTAGER_SITE_CA_FILE /nowhere is not a file."),
        ({"site_urls_file": Path("/nowhere")}, "The URLs of sites cannot be read from /nowhere"),
        (
            {
                "inspector": "declared",
                "controller_keystone_url": None,
                "dcmanager_url": "http://192.0.2.1:8119/v1.0",
            },
            "Set PRESTAGER_CONTROLLER_KEYSTONE_URL: PRESTAGER_DCMANAGER_URL is asked with a token of that Keystone.",
        ),
        (
            {"inspector": "declared", "site_password_file": None, "dcmanager_url": "http://192.0.2.1:8119/v1.0"},
            "Set PRESTAGER_SITE_PASSWORD_FILE",
        ),
        ({"controller_url": None}, "Set PRESTAGER_CONTROLLER_KEYSTONE_URL and PRESTAGER_CONTROLLER_URL"),
        ({"controller_password_file": Path("/nowhere")}, "The password of the account cannot be read from /nowhere."),
        ({"inspector": "declared", "probe": True, "probe_kind": "sysinv", "site_password_file": None}, "Set PRESTAGER"),
    ],
)
def test_each_fault_is_told(make: Make, changed: dict[str, object], sentence: str) -> None:
    """What is missing or unreadable is told in one sentence, without any secret."""
    faults = site_faults(make(**changed))

    assert 1 == len(faults)
    assert faults[0].startswith(sentence)
    assert "hunter2" not in faults[0]


@pytest.mark.parametrize(
    "content", [b"", b"hunter2", b"\x30\x82\x03\x0b\x30\x82\x01\xf3"], ids=["empty", "text", "DER"]
)
def test_an_authority_without_a_certificate(make: Make, tmp_path: Path, content: bytes) -> None:
    """A file that holds no authority is a fault: no site would be asked, each with a failure of its own."""
    file = tmp_path / "other.pem"
    file.write_bytes(content)
    settings = make(site_ca_file=file)

    assert [f"No certificate in PEM can be read from PRESTAGER_SITE_CA_FILE {file}."] == site_faults(settings)
    with pytest.raises(StartError, match="No certificate in PEM"):
        site_inspector(settings)


def test_a_service_does_not_start_with_a_fault(prestager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of the settings lists what asking sites lacks."""
    monkeypatch.setenv("PRESTAGER_INSPECTOR", "sysinv")
    monkeypatch.setenv("PRESTAGER_CONTROLLER_URL", "hunter2")
    ended = prestager("config", "check")

    assert 1 == ended.code
    assert "PRESTAGER_CONTROLLER_URL must be a URL such as" in ended.err
    assert "Set PRESTAGER_SITE_PASSWORD_FILE" in ended.err
    assert "Set PRESTAGER_SITE_CA_FILE" in ended.err
    assert "hunter2" not in ended.err + ended.out


def test_no_site_is_asked_without_an_authority(make: Make) -> None:
    """Neither inspector nor probe is made that would send the password to whoever has a certificate of anybody."""
    settings = make(site_ca_file=None, probe=True, probe_kind="sysinv")
    for build in (site_inspector, probe_factory):
        with pytest.raises(StartError, match="Set PRESTAGER_SITE_CA_FILE"):
            build(settings)


def test_doctor_asks_the_controller(make: Make) -> None:
    """Doctor says whether the controller answers, and whether it is being upgraded."""
    spec = SiteSpec(name="controller", account=Account(password="other"))
    with sites_in_thread([spec]) as sites:
        where = {
            "controller_keystone_url": sites["controller"].keystone_url,
            "controller_url": sites["controller"].sysinv_url,
        }
        levels = []
        for password, deploys in (("other", []), ("other", [{"state": "start"}]), ("wrong", [])):
            spec.deploys = deploys
            (found,) = site_findings(make(**where, controller_password=password))
            levels.append(found.level)

    assert [Level.OK, Level.WARN, Level.FAIL] == levels
    assert [] == list(site_findings(Settings()))


def test_doctor_asks_dcmanager(make: Make, tmp_path: Path) -> None:
    """Doctor says how many subclouds dcmanager lists and works on, warns of none, fails without an answer."""
    spec = SiteSpec(name="controller", account=Account(password="other"))
    listed = [{"name": "a", "backup-status": "validating"}, {"name": "b"}]
    with sites_in_thread([spec]) as sites:
        where = {
            "data_dir": tmp_path,
            "controller_keystone_url": sites["controller"].keystone_url,
            "dcmanager_url": sites["controller"].dcmanager_url,
        }
        found = []
        for password, subclouds in (("other", listed), ("other", []), ("wrong", [])):
            spec.subclouds = subclouds
            found += dcmanager_findings(make(**where, controller_password=password))

    assert [Level.OK, Level.WARN, Level.FAIL] == [one.level for one in found]
    assert "lists 2 subclouds and works on 1 of them." in found[0].text
    assert found[2].text.startswith("Keystone refused the login of dcmanager (401). Check PRESTAGER_DCMANAGER_URL")
    assert [] == list(dcmanager_findings(Settings()))
    assert [] == [one.name for one in tmp_path.iterdir() if one.suffix == ".db"]
