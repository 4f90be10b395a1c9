"""Settings: `PRESTAGER_*` environment variables, or a file of the same names.

Read once at the start by `service.load_settings`; nothing else looks at the environment.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from sqlalchemy.engine import URL

from messages.queues import WORKER_QUEUES
from runner.capacity import default_slots
from service.setting_types import (
    BrokerUrl,
    CertificatesFile,
    CollectorUrl,
    DatabaseUrl,
    DcmanagerUrl,
    HeadersFile,
    KeystoneUrl,
    ListenAddress,
    NetworkList,
    PathList,
    QueueList,
    Release,
    Seconds,
    TextPath,
    WebUrl,
    WorkerName,
    check_broker_url,
    check_database_url,
    names,
    networks,
    paths,
)
from statemachine.host_keys import HostKeyPolicy

CONFIG_FILE_VARIABLE: Final = "PRESTAGER_CONFIG"
_OUR_PLAYBOOKS: Final = Path(__file__).parents[1] / "playbooks"

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


class Settings(BaseSettings):
    """Everything an operator can set. A variable of the environment wins over the file."""

    model_config = SettingsConfigDict(env_prefix="PRESTAGER_", extra="forbid", env_ignore_empty=True)

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
    release: Release | None = Field(
        None, description="Software version of the system controller (MM.mm), staged where a request names none."
    )
    playbooks_dir: Path = Field(_OUR_PLAYBOOKS, description="Directory of the playbooks.")
    ansible: Path | None = Field(
        None,
        description="Path of the ansible-playbook that runs the playbooks"
        " ([own-playbooks.md](own-playbooks.md#which-ansible-it-needs)).",
    )
    ansible_collections: PathList = Field(
        "", description="Directories of Ansible collections, with colons between them; default Ansible's own."
    )
    ansible_config: Path | None = Field(
        None, description="Configuration file (ansible.cfg) of playbook runs; what runs need wins over it."
    )
    deploy_dir: Path = Field(
        Path("/opt/platform/deploy"), description="Where `<release>/prestage_images*` and the shared packages are."
    )
    feed_dir: Path = Field(
        Path("/var/www/pages/feed"), description="Where the controller keeps the package feeds, `rel-<release>` each."
    )
    inspector: Literal["declared", "sysinv"] = Field(
        "declared", description="How the facts of a site are read: as declared in the inventory, or at its sysinv."
    )
    inspections: int = Field(250, ge=1, le=2000, description="Sites that one worker asks for their facts at once.")
    precheck_deadline_s: Seconds = Field(600, description="Longest reading of a site's facts, in seconds.")
    site_username: str = Field("dcmanager", min_length=1, description="Account at each site's Keystone.")
    site_password: SecretStr | None = Field(None, description="Its password.")
    site_password_file: Path | None = Field(None, description="File that holds it, read again at each login.")
    site_project: str = Field("services", min_length=1, description="Project of the account.")
    site_user_domain: str = Field("Default", min_length=1, description="Domain of the account.")
    site_project_domain: str = Field("Default", min_length=1, description="Domain of the project.")
    site_ca_file: Path | None = Field(
        None,
        description="Authorities that sign the sites' certificates, needed to ask sites; read again when changed.",
    )
    site_keystone_port: int = Field(5001, ge=1, le=65535, description="Port of a site's Keystone.")
    site_sysinv_port: int = Field(6386, ge=1, le=65535, description="Port of a site's sysinv.")
    site_usm_port: int = Field(5498, ge=1, le=65535, description="Port of a site's USM.")
    site_urls_file: Path | None = Field(
        None,
        description="TOML file of sites that are not at their management start address: a table for each, with"
        " `keystone`, `sysinv` and, where it has one, `usm`.",
    )
    site_connect_timeout_s: Seconds = Field(10, description="How long a site may take to connect, in seconds.")
    site_read_timeout_s: Seconds = Field(60, description="How long a site may be silent, in seconds.")
    controller_check: Literal["declared", "sysinv", "usm"] | None = Field(
        None,
        description="What is asked for upgrades of the system controller beside the operator's declaration; default"
        " usm with the sysinv inspector, else declared.",
    )
    controller_keystone_url: WebUrl | None = Field(
        None, description="The system controller's Keystone, such as http://192.168.204.1:5000/v3."
    )
    controller_url: WebUrl | None = Field(
        None, description="The system controller's USM (http://192.168.204.1:5497) or sysinv (...:6385)."
    )
    controller_username: str | None = Field(None, description="Account at the controller; default the sites' account.")
    controller_password: SecretStr | None = Field(None, description="Its password.")
    controller_password_file: Path | None = Field(None, description="File that holds it, read again at each login.")
    dcmanager_url: DcmanagerUrl = Field(
        "",
        description="dcmanager's API, such as http://192.168.204.2:8119/v1.0: sites that it works on are skipped;"
        " default: it is not asked.",
    )
    allow_duplex: bool = Field(False, description="Prestage duplex sites too; the default skips them.")
    ssh_user: str = Field("sysadmin", description="User that playbooks log in with.")
    host_keys: HostKeyPolicy = Field(
        HostKeyPolicy.ACCEPT_NEW,
        description="SSH host keys of sites: accept-new records the first, strict takes given ones only, ignore none.",
    )
    slots: int = Field(default_factory=default_slots, ge=1, le=1000, description="Playbooks at once in one worker.")
    worker_queues: QueueList = Field(
        ",".join(WORKER_QUEUES), description="Queues that a worker serves, with commas between them."
    )
    max_attempts: int = Field(3, ge=1, le=20, description="Tries of a phase whose worker is lost.")
    prepare_deadline_s: Seconds = Field(3600, description="Longest prepare playbook, in seconds.")
    packages_deadline_s: Seconds = Field(3600, description="Longest packages playbook, in seconds.")
    images_deadline_s: Seconds = Field(7200, description="Longest images playbook, in seconds.")
    floor_rate_mbit_s: float = Field(
        2,
        ge=0.01,
        le=1_000_000,
        description="Slowest link to a site, in Mbit/s: a run may take 600 s plus its bytes at this rate if that is"
        " more than its deadline, 7 days at most.",
    )
    keep_releases: int = Field(
        0,
        ge=0,
        le=1000,
        description="Staged releases that stay on a site after a successful run of our playbooks; 0: all. Never"
        " removed are the running one, the target, those of an open strategy, and what others put there.",
    )
    command_timeout_s: Seconds = Field(30, description="How long the API waits for an answer, in seconds.")
    probe: bool = Field(False, description="Keep availability current by probes of each site.")
    probe_kind: Literal["tcp", "sysinv"] = Field(
        "tcp", description="What is probed: the SSH port takes a connection, or the service groups are active."
    )
    probe_interval_s: Seconds = Field(30, description="Pause between two probes of a site, in seconds.")
    probe_timeout_s: Seconds | None = Field(
        None, description="How long a probe may take, in seconds; default 5 for tcp, 30 for sysinv."
    )
    probe_failures: int = Field(2, ge=1, le=100, description="Failed probes in a row that make a site offline.")
    probe_concurrency: int = Field(100, ge=1, le=1000, description="Probes at once.")
    audit_days: int = Field(365, ge=1, description="Days for which the audit is kept.")
    retention_days: int = Field(
        90,
        ge=1,
        description="Days for which deleted strategies, events, answered commands and ended webhook deliveries are"
        " kept.",
    )
    webhook_ca_file: CertificatesFile | None = Field(
        None, description="Authorities (PEM) of the certificates of webhooks' receivers; default is what Python trusts."
    )
    webhook_allow_networks: NetworkList = Field(
        "",
        description="Networks that webhooks may reach though they are this machine's, link-local or metadata.",
    )
    webhook_give_up_days: float = Field(
        5, gt=0, le=365, description="Days of nothing but failed tries after which a webhook is disabled."
    )
    worker_name: WorkerName = Field(
        default_factory=socket.gethostname,
        description="Stable name of the worker, by which a restarted one finds the runs of its predecessor.",
    )
    ready_file: Path | None = Field(
        None,
        description="File that exists while the process is ready, renewed every 10 s, for scripts that start it; one"
        " for each process.",
    )
    monitor_listen: ListenAddress | None = Field(
        None, description="Address and port of the metrics and health of this process; default none."
    )
    tracing: Literal["off", "otlp"] = Field(
        "off",
        description="Traces: off, or otlp: sent to a collector; needs the extra `tracing` ([tracing.md](tracing.md)).",
    )
    tracing_endpoint: CollectorUrl | None = Field(
        None, description="The collector's OTLP over HTTP; default http://localhost:4318, or as OTEL_EXPORTER_OTLP_*."
    )
    tracing_headers_file: HeadersFile | None = Field(
        None, description="File of headers (Name: value) that the collector wants, such as its credentials."
    )
    tracing_ratio: float = Field(1.0, ge=0, le=1, description="Part of the traces that is recorded.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Format of the log; auto: text on a terminal, else json."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Log level.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment, then the TOML file that PRESTAGER_CONFIG names."""
        del dotenv_settings, file_secret_settings
        file = os.environ.get(CONFIG_FILE_VARIABLE)
        sources = (init_settings, env_settings)
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(file))) if file else sources

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
    def _secrets_from_files(self) -> Settings:
        if self.database_url_file is not None:
            self.database_url = SecretStr(_content(self.database_url_file))
        if self.broker_url_file is not None:
            self.broker_url = SecretStr(_content(self.broker_url_file))
        if self.keystone_password_file is not None:
            self.keystone_password = SecretStr(_content(self.keystone_password_file))
        return self

    @model_validator(mode="after")
    def _one_key(self) -> Settings:
        if self.secret_key is not None and self.secret_key_file is not None:
            raise ValueError("set either PRESTAGER_SECRET_KEY or PRESTAGER_SECRET_KEY_FILE, not both")
        return self

    @property
    def asks_sites(self) -> bool:
        """Tell whether anything logs in at sites."""
        return self.inspector == "sysinv" or (self.probe and self.probe_kind == "sysinv")

    @property
    def controller_asked(self) -> Literal["sysinv", "usm"] | None:
        """Return what of the system controller is asked for upgrades; None: what is declared counts alone."""
        if self.controller_check is None:
            return "usm" if self.inspector == "sysinv" else None
        return None if self.controller_check == "declared" else self.controller_check

    @property
    def sqlalchemy_url(self) -> str:
        """Return the database's URL with its password; never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        # Escaped: a directory may hold what has a meaning in URLs.
        url = URL.create("sqlite", database=str(self.data_dir / "prestager.db"))
        return url.render_as_string(hide_password=False)

    @property
    def collection_paths(self) -> tuple[Path, ...]:
        """Return the directories of Ansible collections; empty: those that Ansible looks into by itself."""
        return paths(self.ansible_collections)

    @property
    def served_queues(self) -> frozenset[str]:
        """Return the queues that a worker serves."""
        return names(self.worker_queues)

    @property
    def webhook_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the networks that webhooks may reach whatever they are."""
        return networks(self.webhook_allow_networks)

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
