"""The API's certificate and key, as far as their files tell. Reads them; changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509

from api.errors import CertificateError
from api.tls import server_context
from service.settings import Settings

# So long before its end a certificate is worth a warning.
_SOON: Final = timedelta(days=30)
_VARIABLE: Final = "PRESTAGER_TLS_CERTIFICATE_FILE"


def tls_fault(settings: Settings) -> str | None:
    """Return why certificate and key cannot be used; None where they can, or are not set."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    try:
        server_context(settings.tls_certificate_file, settings.tls_key_file)
    except CertificateError as error:
        return f"{_VARIABLE} with PRESTAGER_TLS_KEY_FILE: {error}"
    return None


def tls_doubts(settings: Settings) -> list[str]:
    """Return one sentence for each thing that clients or attackers will find wrong with how the API is listened to."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return [] if _is_loopback(settings.listen_host) else [_in_the_clear(settings)]
    if tls_fault(settings) is not None:
        return []
    # Who can read the key is looked at with all other secret files.
    return _of_certificate(settings.tls_certificate_file)


def _in_the_clear(settings: Settings) -> str:
    return (
        f"PRESTAGER_LISTEN {settings.listen} can be reached by others, and without TLS tokens and passwords are sent in"
        f" the clear; set {_VARIABLE} and PRESTAGER_TLS_KEY_FILE, or listen on 127.0.0.1 behind a proxy with TLS."
    )


def _of_certificate(file: Path) -> list[str]:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        names_hosts = any(one.oid == x509.SubjectAlternativeName.oid for one in certificate.extensions)
    except ValueError:
        # OpenSSL takes forms and contents that others do not.
        return [f"{_VARIABLE} {file} is not written as X.509 wants it; some clients may refuse it."]
    begin, end, now = certificate.not_valid_before_utc, certificate.not_valid_after_utc, datetime.now(UTC)
    found = []
    if end <= now:
        found.append(f"{_VARIABLE} {file} expired at {end:%Y-%m-%d %H:%M} UTC; clients refuse it. Renew it.")
    elif end <= now + _SOON:
        found.append(f"{_VARIABLE} {file} expires at {end:%Y-%m-%d %H:%M} UTC; renew it before.")
    if begin > now:
        found.append(
            f"{_VARIABLE} {file} is valid from {begin:%Y-%m-%d %H:%M} UTC on; check the clock of this machine."
        )
    if not names_hosts:
        found.append(f"{_VARIABLE} {file} names no host (subjectAltName); clients refuse it.")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() == "localhost"
