"""Certificates and keys in files, as an operator would give them to the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PEM = serialization.Encoding.PEM


def make_certificate(
    directory: Path,
    name: str = "server",
    *,
    days: float = 365,
    begins_in_days: float = -1,
    named: bool = True,
    authority: bool = False,
) -> tuple[Path, Path]:
    """Write a certificate that signs itself for 127.0.0.1, as an authority's if asked, and its key; return both."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins_in_days))
        .not_valid_after(now + timedelta(days=days))
    )
    if named:
        hosts = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(hosts, critical=False)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    certificate_file, key_file = directory / f"{name}.pem", directory / f"{name}.key"
    certificate_file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(_PEM))
    write_key(key_file, key)
    return certificate_file, key_file


def write_key(file: Path, key: ec.EllipticCurvePrivateKey | None = None, passphrase: bytes = b"") -> None:
    """Write a key, a new one where none is given, with a passphrase or without."""
    sealing = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    key = key or ec.generate_private_key(ec.SECP256R1())
    file.touch(0o600)
    file.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, sealing))
