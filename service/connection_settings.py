"""Settings of database, broker, API, keys and callers, with the secrets that are read from files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from sqlalchemy.engine import URL

from service.setting_types import (
    BrokerUrl,
    CertificatesFile,
    DatabaseUrl,
    KeystoneUrl,
    ListenAddress,
    TextPath,
    check_broker_url,
    check_database_url,
)
from service.setting_variables import VariableSettings

_T = TypeVar("_T")


def _check_password(text: str) -> None:
    if not text:
        raise ValueError("is empty")


# What the form of each text must be that may be a secret, by the name of its setting.
_CHECKS: Final[Mapping[str, Callable[[str], None]]] = {
    "database_url": check_database_url,
    "broker_url": check_broker_url,
    "keystone_password": _check_password,
}


def _content(file: Path) -> str:
    """Return the URL or password in a file; the line break that editors leave is not part of it."""
    return file.read_text(encoding="utf-8").strip()


class ConnectionSettings(VariableSettings):
    """Settings of database, broker, API, keys and callers."""

    data_dir: TextPath = Field(Path("/var/lib/prestager"), description="Where the embedded database and keys are kept.")
    database_url: DatabaseUrl | None = Field(
        None,
        description="URL of the database, `postgresql+psycopg://…` or `sqlite:///…`; default SQLite in the data"
        " directory.",
    )
    database_url_file: Path | None = Field(None, description="File that holds the database's URL.")
    broker_url: BrokerUrl | None = Field(
        None, description="AMQP URL of RabbitMQ (3.10 or later); without one everything runs in one process."
    )
    broker_url_file: Path | None = Field(None, description="File that holds the broker's URL.")
    listen: ListenAddress = Field("127.0.0.1:8119", description="Address and port of the API.")
    ui: bool = Field(
        True, description="Whether the API serves the page for operators at /ui ([dashboard.md](dashboard.md))."
    )
    ui_insecure: bool = Field(
        False,
        description="Whether people may log in at the page over plain HTTP from other machines, where passwords and"
        " tokens can be read on the way.",
    )
    tls_certificate_file: Path | None = Field(
        None, description="Certificate of the API (PEM, with those up to the authority), read again when changed."
    )
    tls_key_file: Path | None = Field(
        None, validate_default=True, description="Its private key (PEM, no passphrase), read again when changed."
    )
    max_connections: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Connections to the API at once; default what open files allow, at most 4000.",
    )
    max_connections_per_address: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Those of one address (IPv6: one /64 network), a proxy's too; default half of all.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Keys that seal passwords, 32 bytes in base64 each, with commas between them: the first seals, all"
        " open; default is a file made in the data directory.",
    )
    secret_key_file: Path | None = Field(None, description="File with one secret key a line, read again when changed.")
    auth: Literal["token", "keystone"] = Field(
        "token", description="Whose tokens callers have: of this installation, or Keystone's ([auth.md](auth.md))."
    )
    keystone_auth_url: KeystoneUrl | None = Field(
        None, validate_default=True, description="Where Keystone is, such as http://192.168.204.1:5000/v3."
    )
    keystone_username: str | None = Field(
        None, validate_default=True, description="User that asks Keystone about tokens."
    )
    keystone_password: SecretStr | None = Field(None, description="Password of that user.")
    keystone_password_file: Path | None = Field(
        None, validate_default=True, description="File that holds the password of that user."
    )
    keystone_project: str | None = Field(
        None, validate_default=True, description="Project of that user, such as services."
    )
    keystone_user_domain: str = Field("Default", min_length=1, description="Domain of that user.")
    keystone_project_domain: str = Field(
        "Default", min_length=1, description="Domain of that project; callers' projects count only there."
    )
    keystone_ca_file: CertificatesFile | None = Field(
        None, description="Certificates (PEM) that Keystone's is checked with; default is what Python trusts."
    )
    # A caller gets the answer within 5 s, also when Keystone says nothing.
    keystone_timeout_s: float = Field(4, gt=0, le=4.5, description="How long Keystone is waited for, in seconds.")
    keystone_cache_s: float = Field(
        60,
        ge=0,
        le=3600,
        description="How long a valid token is not asked about again, and a revoked one may live on, in seconds.",
    )

    @field_validator("keystone_auth_url", "keystone_username", "keystone_project", "keystone_password_file")
    @classmethod
    def _needed_for_keystone(cls, value: _T | None, info: ValidationInfo) -> _T | None:
        if value is not None or info.data.get("auth") != "keystone":
            return value
        if info.field_name != "keystone_password_file":
            raise ValueError("is needed with PRESTAGER_AUTH=keystone")
        if info.data.get("keystone_password", "") is None:
            raise ValueError("or PRESTAGER_KEYSTONE_PASSWORD is needed with PRESTAGER_AUTH=keystone")
        return value

    @field_validator("tls_key_file")
    @classmethod
    def _with_its_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_certificate_file") is None):
            raise ValueError("and PRESTAGER_TLS_CERTIFICATE_FILE are set together or not at all")
        return value

    @field_validator("database_url_file", "broker_url_file", "keystone_password_file")
    @classmethod
    def _secret_in_file(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is None:
            return None
        name = str(info.field_name).removesuffix("_file")
        if info.data.get(name) is not None:
            raise ValueError(f"is set beside PRESTAGER_{name.upper()}; set only one of the two")
        try:
            _CHECKS[name](_content(value))
        except OSError as error:
            raise ValueError(f"names {value}, which cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"names {value}, whose content {error}") from None
        return value

    @model_validator(mode="after")
    def _secrets_from_files(self) -> Self:
        if self.database_url_file is not None:
            self.database_url = SecretStr(_content(self.database_url_file))
        if self.broker_url_file is not None:
            self.broker_url = SecretStr(_content(self.broker_url_file))
        if self.keystone_password_file is not None:
            self.keystone_password = SecretStr(_content(self.keystone_password_file))
        return self

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.secret_key is not None and self.secret_key_file is not None:
            raise ValueError("set either PRESTAGER_SECRET_KEY or PRESTAGER_SECRET_KEY_FILE, not both")
        return self

    @property
    def sqlalchemy_url(self) -> str:
        """Return the database's URL with its password; never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        # Escaped: a directory may hold what has a meaning in URLs.
        url = URL.create("sqlite", database=str(self.data_dir / "prestager.db"))
        return url.render_as_string(hide_password=False)

    @property
    def key_path(self) -> Path:
        """Return the file of the secret key, for use where the key itself is not set."""
        return self.secret_key_file or self.data_dir / "secret.key"

    @property
    def listen_host(self) -> str:
        """Return the address part of `listen`, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def listen_port(self) -> int:
        """Return the port part of `listen`."""
        return int(self.listen.rpartition(":")[2])
