"""What `prestager config check` finds of the API's certificate, its key, and who may connect."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import api_server
from service.api_server import api_bounds
from service.roles import ALL_ROLES, ProcessRole
from service.settings import Settings
from tests.support.server_certificates import make_certificate, write_key


@pytest.fixture
def controller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A controller that has everything."""
    for variable, directory in (("DEPLOY", "deploy"), ("FEED", "feed/rel-23.09")):
        (tmp_path / directory).mkdir(parents=True)
        monkeypatch.setenv(f"PRESTAGER_{variable}_DIR", str(tmp_path / directory.partition("/")[0]))
    return tmp_path


@pytest.fixture
def given(controller: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Path, Path]]:
    """Give the API a certificate and a key and return both files."""

    def give(**kind: object) -> tuple[Path, Path]:
        files = make_certificate(controller, **kind)  # type: ignore[arg-type]
        monkeypatch.setenv("PRESTAGER_TLS_CERTIFICATE_FILE", str(files[0]))
        monkeypatch.setenv("PRESTAGER_TLS_KEY_FILE", str(files[1]))
        return files

    return give


def test_right_files(prestager, given: Callable[..., tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a good certificate and its key there is nothing to say, wherever the API listens."""
    given()
    monkeypatch.setenv("PRESTAGER_LISTEN", "[::]:8119")
    ended = prestager("config", "check")

    assert (0, "The settings are right.\n", "") == (ended.code, ended.out, ended.err)


@pytest.mark.parametrize(
    ("kind", "warning"),
    [
        ({"days": 20}, "server.pem expires at 20"),
        ({"days": -0.5}, "server.pem expired at 20"),
        ({"begins_in_days": 2}, "server.pem is valid from 20"),
        ({"named": False}, "names no host (subjectAltName)"),
    ],
)
def test_doubtful_certificates(
    prestager, given: Callable[..., tuple[Path, Path]], kind: dict[str, object], warning: str
) -> None:
    """A certificate that clients refuse, or soon will, is a warning."""
    given(**kind)
    ended = prestager("config", "check")

    assert 0 == ended.code
    assert 1 == ended.err.count("Warning:")
    assert warning in ended.err


def test_a_certificate_in_a_form_of_openssl(prestager, given: Callable[..., tuple[Path, Path]]) -> None:
    """A form that the server takes and that cannot be looked into is a warning, and breaks no command."""
    certificate, _ = given()
    certificate.write_text(certificate.read_text().replace(" CERTIFICATE-", " TRUSTED CERTIFICATE-"))
    ended = prestager("config", "check")

    assert (0, "The settings are right.\n") == (ended.code, ended.out)
    assert 1 == ended.err.count("Warning:")
    assert "server.pem is not written as X.509 wants it" in ended.err


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (lambda _, key: write_key(key), "is not that of the certificate"),
        (lambda _, key: write_key(key, passphrase=b"hunter2"), "has a passphrase"),
        (lambda certificate, _: certificate.write_text("hunter2"), "are no certificate and key in PEM"),
        (lambda _, key: key.unlink(), "server.key cannot be read: No such file or directory"),
    ],
)
def test_unusable_files(
    prestager,
    given: Callable[..., tuple[Path, Path]],
    monkeypatch: pytest.MonkeyPatch,
    break_it: Callable[[Path, Path], object],
    fault: str,
) -> None:
    """Files that cannot be used are one fault with its reason, and nothing of what they hold is shown."""
    break_it(*given())
    # Had it no certificate at all there would be a warning.
    monkeypatch.setenv("PRESTAGER_LISTEN", "0.0.0.0:8119")
    ended = prestager("config", "check")

    assert (1, 1) == (ended.code, ended.err.count("  - "))
    assert fault in ended.err
    assert "hunter2" not in ended.err
    assert "Warning" not in ended.err


@pytest.mark.parametrize("name", ["TLS_CERTIFICATE_FILE", "TLS_KEY_FILE"])
def test_one_without_the_other(prestager, controller: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A certificate without its key, and a key without its certificate, is one fault."""
    monkeypatch.setenv(f"PRESTAGER_{name}", str(controller / "x.pem"))
    ended = prestager("config", "check")

    assert (1, 1) == (ended.code, ended.err.count("  - "))
    assert "PRESTAGER_TLS_KEY_FILE and PRESTAGER_TLS_CERTIFICATE_FILE are set together or not at all" in ended.err


@pytest.mark.parametrize(
    ("listen", "is_warned"),
    [
        ("127.0.0.1:8119", False),
        ("127.0.0.9:8119", False),
        ("[::1]:8119", False),
        ("localhost:8119", False),
        ("0.0.0.0:8119", True),
        ("[::]:8119", True),
        ("192.168.204.2:8119", True),
        ("controller:8119", True),
    ],
)
def test_in_the_clear(
    prestager, controller: Path, monkeypatch: pytest.MonkeyPatch, listen: str, is_warned: bool
) -> None:
    """To listen where others reach it without a certificate is a warning that says what crosses the network."""
    monkeypatch.setenv("PRESTAGER_LISTEN", listen)
    ended = prestager("config", "check")

    assert (0, is_warned) == (ended.code, f"PRESTAGER_LISTEN {listen} can be reached by others" in ended.err)


class TestConnections:
    @pytest.fixture
    def open_files(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
        """Set how many files may be open, as far as the bounds see."""

        def limit(number: int) -> None:
            monkeypatch.setattr(api_server.resource, "getrlimit", lambda _: (number, number))

        return limit  # type: ignore[return-value]

    @pytest.mark.parametrize("files", [64, 256, 1024, 4096, 65536, 1_048_576])
    @pytest.mark.parametrize("asked", [None, 10, 1_000_000])
    @pytest.mark.parametrize("roles", [ALL_ROLES, frozenset({ProcessRole.API})])
    def test_below_the_descriptors(
        self, open_files: Callable[[int], None], files: int, asked: int | None, roles: frozenset[ProcessRole]
    ) -> None:
        """Whatever is asked for, connections leave room among the open files, and an address has at most half."""
        open_files(files)
        bounds = api_bounds(Settings(max_connections=asked, slots=30), roles)

        assert 1 <= bounds.total <= files - min(300, files * 3 // 4)
        assert bounds.total <= (asked or 4000)
        assert bounds.per_address == max(1, bounds.total // 2)

    def test_by_setting(self, open_files: Callable[[int], None]) -> None:
        """Both numbers can be set, and one address never has more than all."""
        open_files(resource.RLIM_INFINITY)
        few = api_bounds(Settings(max_connections=50, max_connections_per_address=7), ALL_ROLES)
        many = api_bounds(Settings(max_connections=50, max_connections_per_address=700), ALL_ROLES)

        assert [(50, 7), (50, 50)] == [(one.total, one.per_address) for one in (few, many)]
