"""Checks of files: secrets that other users can read, and the API's certificate. Reads them; changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from api.errors import CertificateError
from api.tls import server_context
from service.load_settings import config_file, holds_secrets, variable_of
from service.settings import CONFIG_FILE_VARIABLE, Settings

# Settings that name a file whose content is secret.
SECRET_FILES: Final = (
    "secret_key_file",
    "tls_key_file",
    "database_url_file",
    "broker_url_file",
    "keystone_password_file",
    "site_password_file",
    "controller_password_file",
    "tracing_headers_file",
)
# A container's own; it has one user.
_CONTAINER_SECRETS: Final = Path("/run/secrets")
# So long before its end a certificate is worth a warning.
_SOON: Final = timedelta(days=30)
_VARIABLE: Final = "PRESTAGER_TLS_CERTIFICATE_FILE"


def file_right_warnings(settings: Settings) -> Iterator[str]:
    """Yield one sentence for each file or directory with secrets that other users can read."""
    if (who := _readers(settings.data_dir)) is not None:
        yield (
            f"PRESTAGER_DATA_DIR {settings.data_dir} can be read by {who}; it holds the database and the key."
            f" Close it: chmod 700 {settings.data_dir}"
        )
    for name, path in _secret_files(settings):
        if path.parent != _CONTAINER_SECRETS and (who := _readers(path)) is not None:
            yield f"{name} {path} can be read by {who}. Close it: chmod 600 {path}, or 640 with the service's group"
    file = config_file()
    if file is not None and holds_secrets(file) and (who := _readers(file)) is not None:
        yield (
            f"{CONFIG_FILE_VARIABLE} {file} holds a secret and can be read by {who}. Close it: chmod 600 {file}, or"
            " 640 with the service's group"
        )


def _secret_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    for field in SECRET_FILES:
        path = getattr(settings, field)
        if path is not None:
            yield variable_of(field), path
    if settings.secret_key is None and settings.secret_key_file is None:
        yield "The secret key", settings.key_path


def _readers(path: Path) -> str | None:
    """Return the users that can read or write `path` beside this user, root and our own group; None for none."""
    try:
        # What counts is where links lead.
        place = path.resolve(strict=True)
        facts = place.stat()
        ways = [parent.stat().st_mode for parent in place.parents]
    except OSError:
        return None
    # Root looks at files of the service's user too, and does not know who that is.
    if os.geteuid() not in {0, facts.st_uid} and facts.st_uid != 0:
        return f"user {facts.st_uid}, who owns it"
    if facts.st_mode & stat.S_IRWXO and all(mode & stat.S_IXOTH for mode in ways):
        return "every user"
    group_may = facts.st_mode & stat.S_IRWXG and facts.st_gid not in {0, os.getegid()}
    if group_may and all(mode & (stat.S_IXOTH | stat.S_IXGRP) for mode in ways):
        return f"the users of group {facts.st_gid}"
    return None


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
    # It takes 4 MB, and most processes have no certificate.
    from cryptography import x509  # noqa: PLC0415

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
