"""The API's certificate as the settings name it, kept current while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from api.errors import CertificateError
from api.server import TlsContext, no_tls
from api.tls import ServerCertificate
from service.errors import StartError
from service.settings import Settings


@asynccontextmanager
async def server_certificate(settings: Settings) -> AsyncIterator[TlsContext]:
    """Give what returns the TLS context for the next connection; until the end of the block new files are taken.

    Without a certificate in the settings connections are in the clear.

    Raises:
        StartError: The files cannot be used.
    """
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        yield no_tls
        return
    try:
        certificate = ServerCertificate(settings.tls_certificate_file, settings.tls_key_file)
    except CertificateError as error:
        raise StartError(
            f"PRESTAGER_TLS_CERTIFICATE_FILE and PRESTAGER_TLS_KEY_FILE cannot be used: {error}"
        ) from error
    task = asyncio.create_task(certificate.watch())
    try:
        yield lambda: certificate.context
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
