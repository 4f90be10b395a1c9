"""The API by TLS: with the certificate of the moment, and bounded as it is in the clear."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from api.app import create_app
from api.auth import TokenAuthenticator
from api.connections import ConnectionBounds
from api.docs_routes import Documents
from api.errors import CertificateError
from api.server import create_listener, create_runner
from api.tls import ServerCertificate, server_context
from apidocs.openapi.assembly import make_documents
from db.database import Database
from db.encryption import Sealer
from db.tokens import TokenStore
from tests.support.served_api import BOUNDS, RecordingTransport
from tests.support.server_certificates import make_certificate, write_key
from tests.support.waiting import PATIENCE_S

DEADLINE_S = PATIENCE_S
ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key."""
    return make_certificate(tmp_path)


@pytest.fixture
def certificate(files: tuple[Path, Path]) -> ServerCertificate:
    """The certificate of the server."""
    return ServerCertificate(*files)


@pytest.fixture
async def runner(
    database: Database, sealer: Sealer, certificate: ServerCertificate, bounds: ConnectionBounds
) -> AsyncIterator[web.AppRunner]:
    """The API by TLS."""

    async def ready() -> Mapping[str, str | None]:
        return {}

    app = create_app(
        documents=Documents(make_documents),
        database=database,
        transport=RecordingTransport(),
        sealer=sealer,
        authenticator=TokenAuthenticator(TokenStore(database)),
        readiness=ready,
    )
    runner = create_runner(app, shutdown_s=1)
    await runner.setup()
    await create_listener(runner, "127.0.0.1", 0, bounds=bounds, tls=lambda: certificate.context).start()
    yield runner
    await runner.cleanup()


class Client:
    """A connection by TLS that trusts one certificate."""

    def __init__(self, runner: web.AppRunner, trusted: Path) -> None:
        self._port = runner.addresses[0][1]
        self._context = ssl.create_default_context(cafile=trusted)

    async def connect(self) -> None:
        """Connect.

        Raises:
            ssl.SSLCertVerificationError: The server has another certificate.
        """
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)

    async def status(self) -> int:
        """Ask for something and return the status."""
        self.writer.write(ALIVE)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        length = next(int(one.split()[1]) for one in head.decode().split("\r\n") if one.startswith("Content-Length"))
        await self.reader.readexactly(length)
        return int(head.split()[1])

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


async def test_a_new_certificate_drops_nobody(
    runner: web.AppRunner, certificate: ServerCertificate, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """New files are used for new connections; those that are there go on with the old ones."""
    trusted = shutil.copy(files[0], tmp_path / "old.pem")
    old = Client(runner, trusted)
    await old.connect()
    assert 200 == await old.status()
    for fresh, file in zip(make_certificate(tmp_path, "fresh"), files, strict=True):
        fresh.replace(file)
    with capture_logs() as logs:
        certificate.reload()
        certificate.reload()
    new = Client(runner, files[0])
    await new.connect()

    assert ["tls.reloaded"] == [one["event"] for one in logs]
    assert [200, 200] == [await old.status(), await new.status()]
    with pytest.raises(ssl.SSLCertVerificationError):
        await Client(runner, trusted).connect()
    for one in (old, new):
        one.close()


def _mismatch(certificate: Path, key: Path) -> None:
    write_key(key)
    certificate.touch()


def _passphrase(certificate: Path, key: Path) -> None:
    certificate.touch()
    write_key(key, passphrase=b"secret-phrase")


BAD_FILES = {
    "is not that of the certificate": _mismatch,
    "has a passphrase": _passphrase,
    "are no certificate and key in PEM": lambda certificate, _: certificate.write_text("no PEM"),
    "no certificate and key in PEM": lambda _, key: key.write_text("secret-phrase"),
    "server.pem cannot be read: No such file": lambda certificate, _: certificate.unlink(),
    "server.key cannot be read: No such file": lambda _, key: key.unlink(),
    "server.key cannot be read: Is a directory": lambda _, key: (key.unlink(), key.mkdir()),
    "no certificate and key": lambda certificate, _: certificate.write_bytes(b""),
}


@pytest.mark.parametrize("reason", BAD_FILES)
async def test_bad_files_are_not_taken(
    runner: web.AppRunner, certificate: ServerCertificate, files: tuple[Path, Path], tmp_path: Path, reason: str
) -> None:
    """Files that cannot be used leave the old certificate in use, and are told of once; a service cannot begin so."""
    trusted = Path(shutil.copy(files[0], tmp_path / "old.pem"))
    BAD_FILES[reason](*files)
    with capture_logs() as logs:
        certificate.reload()
        certificate.reload()
    client = Client(runner, trusted)
    await client.connect()

    ((event, told),) = [(one["event"], one["reason"]) for one in logs]
    assert ("tls.not-reloaded", True) == (event, reason in told), told
    assert "secret-phrase" not in told
    assert 200 == await client.status()
    with pytest.raises(CertificateError, match=reason):
        server_context(*files)
    client.close()


async def test_one_file_after_the_other(
    runner: web.AppRunner, certificate: ServerCertificate, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """While only one of the two files is new the old ones are used; then both new ones are."""
    fresh = make_certificate(tmp_path, "fresh")
    trusted = shutil.copy(fresh[0], tmp_path / "new.pem")
    fresh[0].replace(files[0])
    certificate.reload()
    fresh[1].replace(files[1])
    certificate.reload()
    client = Client(runner, trusted)
    await client.connect()

    assert 200 == await client.status()
    client.close()


@pytest.fixture
def bounds(request: pytest.FixtureRequest) -> ConnectionBounds:
    """None that is reached, or few and short ones."""
    return getattr(request, "param", BOUNDS)


@pytest.mark.parametrize("bounds", [ConnectionBounds(total=3, per_address=2, head_s=0.4)], indirect=True)
@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_before_the_handshake(
    runner: web.AppRunner, files: tuple[Path, Path], bounds: ConnectionBounds, said: bytes
) -> None:
    """Who never ends the handshake counts from the first moment, and is let go after the time of a head."""
    port = runner.addresses[0][1]
    with capture_logs() as logs:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        for _, writer in held:
            writer.write(said)
        async with asyncio.timeout(DEADLINE_S):
            for reader, _ in held:
                try:
                    while await reader.read(1000):
                        pass
                except ConnectionError:
                    pass
        client = Client(runner, files[0])
        await client.connect()

    assert said.startswith(b"GET") or "connections.refused" in {one["event"] for one in logs}
    assert 200 == await client.status()
    client.close()
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_old_versions(runner: web.AppRunner, version: ssl.TLSVersion) -> None:
    """TLS before 1.2 is not spoken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version

    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", runner.addresses[0][1], ssl=context)
