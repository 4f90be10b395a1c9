"""Settings: `PRESTAGER_*` environment variables, or a file of the same names.

Read once at the start by `service.load_settings`; nothing else looks at the environment.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import Field

from messages.requests.rollout import RolloutOptions
from service.connection_settings import ConnectionSettings
from service.setting_types import (
    CertificatesFile,
    CollectorUrl,
    HeadersFile,
    ListenAddress,
    NetworkList,
    RolloutTable,
    WorkerName,
    networks,
)
from service.site_settings import SiteSettings

CONFIG_FILE_VARIABLE: Final = "PRESTAGER_CONFIG"


# The order of fields is that of docs/settings.md: bases from the last to the first.
class Settings(SiteSettings, ConnectionSettings):
    """Everything an operator can set. A variable of the environment wins over the file."""

    PREFIX: ClassVar[str] = "PRESTAGER_"
    FILE_VARIABLE: ClassVar[str] = CONFIG_FILE_VARIABLE

    rollout: RolloutTable = Field(
        default_factory=RolloutOptions,
        description="Options of strategies that neither request nor named group gives ([holds.md](holds.md)); read by"
        " coordinators at their start.",
    )
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

    @property
    def webhook_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the networks that webhooks may reach whatever they are."""
        return networks(self.webhook_allow_networks)
