"""The server's own certificate and key: read when they change, and kept when what comes is no good."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from api.errors import CertificateError

_log = structlog.get_logger(__name__)

# Pause between two looks at the files, in seconds.
_PAUSE_S: Final = 2.0


class ServerCertificate:
    """A certificate with its key, from two files in PEM; connections that are there keep what they began with.

    Args:
        certificate: The server's certificate first, then those that lead to an authority.
        key: Its private key, without a passphrase.

    Raises:
        CertificateError: They cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._state()
        self._context = server_context(certificate, key)

    @property
    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        return self._context

    def reload(self) -> None:
        """Take new files if they are there and usable; otherwise say once why not, and go on with what there is."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self._context = server_context(*self._files)
        except CertificateError as error:
            # While two files are replaced one after the other they do not match for a moment.
            _log.error("tls.not-reloaded", reason=str(error), advice="The certificate of before is still used.")
        else:
            _log.info("tls.reloaded", certificate=str(self._files[0]))

    async def watch(self) -> None:
        """Reload whenever the files change, until cancelled."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            self.reload()

    def _state(self) -> Sequence[tuple[int, ...] | None]:
        return [_state_of(file) for file in self._files]


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that serves with a certificate and its key, in TLS 1.2 or newer.

    Raises:
        CertificateError: They cannot be read, are no certificate and key, or do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for file in (certificate, key):
        _check_readable(file)
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except _PassphraseError:
        raise CertificateError(f"The key in {key} has a passphrase; store it without one.") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"The key in {key} is not that of the certificate in {certificate}.") from None
        raise CertificateError(
            f"{certificate} and {key} are no certificate and key in PEM ({error.reason or 'nothing found'})."
        ) from None
    except OSError as error:
        raise CertificateError(f"{certificate} and {key} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise CertificateError(f"{certificate} and {key} are no certificate and key in PEM.") from None
    return context


class _PassphraseError(Exception):
    """A passphrase is asked for; without an answer of ours OpenSSL would ask at the terminal."""


def _no_passphrase() -> str:
    raise _PassphraseError


def _check_readable(file: Path) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise CertificateError(f"{file} cannot be read: {error.strerror}.") from None


def _state_of(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino, found.st_dev)
