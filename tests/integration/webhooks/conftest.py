"""Fixtures of the tests of webhooks: a real database and a real receiver."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.integration.webhooks.receiver import Receiver, receiving
from tests.integration.webhooks.webhook_installation import WebhookInstallation
from tests.support.server_certificates import make_certificate


@pytest.fixture(autouse=True)
def _one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the system's authorities once: that takes longer than a test."""
    monkeypatch.setattr("webhooks.http_client.ssl.create_default_context", _context)


@cache
def _context(cafile: Path | None = None) -> ssl.SSLContext:
    return _make_context(cafile=cafile)


_make_context = ssl.create_default_context


@pytest.fixture
def installation(new_database_url: Callable[..., str]) -> Iterator[WebhookInstallation]:
    """Give an installation."""
    installation = WebhookInstallation.of_coordinator(new_database_url())
    yield installation
    installation.database.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that takes everything."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in one file."""
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"), "receiver", authority=True)
    file = certificate.with_name("both.pem")
    file.write_bytes(certificate.read_bytes() + key.read_bytes())
    return file


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What a receiver with that certificate serves with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
