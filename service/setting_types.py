"""Types of single settings; each checks its value when the settings are read."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from messages.errors import RequestError
from messages.limits import is_storable
from messages.queues import WORKER_QUEUES
from messages.requests.base import parse_request, reject_unknown
from messages.requests.rollout import RolloutOptions, conflict, merge_options
from statemachine.releases import is_release
from tracing.collector import read_headers, traces_url

_WORKER_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


def check_database_url(text: str) -> None:
    """Refuse what is no URL of a database that we can use; the ValueError repeats no password."""
    try:
        backend = make_url(text).get_backend_name()
    except (ArgumentError, ValueError):
        # The original message repeats the URL, password included.
        raise ValueError("is not a database URL such as postgresql+psycopg://user:password@host/prestager") from None
    if backend not in {"sqlite", "postgresql"}:
        raise ValueError(f"names the database {backend!r}; use sqlite or postgresql")


def check_broker_url(text: str) -> None:
    """Refuse what is no URL of RabbitMQ; the ValueError repeats nothing of it."""
    try:
        url = urlsplit(text)
        # Reading the port is what finds one that is no number.
        is_url = text.startswith(("amqp://", "amqps://")) and url.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(
            "is not a broker URL such as amqp://user:password@host:5672/ (in a password write % : / ? # @ as %25 %3A"
            " %2F %3F %23 %40)"
        )


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks of a list with commas; a ValueError for what is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def names(text: str) -> frozenset[str]:
    """Return the names of a list with commas."""
    return frozenset(name.strip() for name in text.split(","))


def paths(text: str) -> tuple[Path, ...]:
    """Return the paths of a list with colons."""
    return tuple(Path(part) for part in text.split(":") if part)


def _database_url(value: SecretStr) -> SecretStr:
    check_database_url(value.get_secret_value())
    return value


def _broker_url(value: SecretStr) -> SecretStr:
    check_broker_url(value.get_secret_value())
    return value


def _rollout(value: Any) -> RolloutOptions:
    if isinstance(value, RolloutOptions):
        return value
    if not isinstance(value, Mapping):
        # A TypeError would pass through pydantic.
        raise ValueError("must be a table in the file that PRESTAGER_CONFIG names, [rollout], and no text")  # noqa: TRY004
    try:
        reject_unknown(RolloutOptions, value, noun="option")
        options = parse_request(RolloutOptions, value)
    except RequestError as error:
        # Without the value, which may be a secret in the wrong place.
        raise ValueError(str(error).partition(", got ")[0]) from None
    fault = conflict(merge_options(options.given()))
    if fault is not None:
        raise ValueError(fault)
    return options


def _release(value: str) -> str:
    if not is_release(value):
        raise ValueError("must be MM.mm, such as 23.09")
    return value


def _listen(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the largest port
        raise ValueError("must be ADDRESS:PORT, such as 127.0.0.1:8119 or [::1]:8119")
    return value


def _worker_name(value: str) -> str:
    if not _WORKER_NAME.fullmatch(value):
        raise ValueError("must be 1 to 100 letters, digits, dots, underscores and hyphens")
    return value


def _queues(value: str) -> str:
    if not names(value) or not names(value) <= frozenset(WORKER_QUEUES):
        raise ValueError(f"must be one or more of {', '.join(WORKER_QUEUES)}, with commas between them")
    return value


def _web_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must be a URL such as http://192.168.204.1:5000/v3")
    return value.rstrip("/")


def _keystone_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in {"http", "https"} or not url.hostname or "@" in url.netloc or url.query or url.fragment:
        raise ValueError("is not the address of a Keystone such as http://192.168.204.1:5000/v3")
    return value


def _dcmanager_url(value: str) -> str:
    if not value:
        return value
    if not _is_api_address(value):
        raise ValueError("is not the address of dcmanager's API such as http://192.168.204.2:8119/v1.0")
    address = value.rstrip("/")
    # The version, which all paths begin with, is often left out.
    return address if urlsplit(address).path else f"{address}/v1.0"


def _is_api_address(value: str) -> bool:
    if any(character.isspace() for character in value):
        return False
    try:
        url = urlsplit(value)
        has_place = bool(url.hostname) and url.port != 0
    except ValueError:
        # A port that is no number, or brackets around what is no address.
        return False
    is_plain = "@" not in url.netloc and not url.query and not url.fragment
    return url.scheme in {"http", "https"} and has_place and is_plain


def _headers_file(value: Path) -> Path:
    try:
        read_headers(value.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"names {value}, which cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"names {value}, which {error}") from None
    return value


def _network_list(value: str) -> str:
    try:
        networks(value)
    except ValueError:
        raise ValueError("must be networks such as 127.0.0.0/8, with commas between them") from None
    return value


def _path_list(value: str) -> str:
    if any(not part.startswith("/") for part in value.split(":") if part):
        raise ValueError("must be absolute paths such as /opt/ansible/collections, with colons between them")
    return value


def _certificates(value: Path) -> Path:
    try:
        ssl.create_default_context(cafile=value)
    except OSError as error:
        raise ValueError(f"names {value}, from which no certificate can be read: {error.strerror}") from None
    return value


def _text_path(value: Path) -> Path:
    if not is_storable(str(value)):
        raise ValueError("must be text in UTF-8 without NUL")
    return value


Seconds = Annotated[float, Field(gt=0)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
BrokerUrl = Annotated[SecretStr, AfterValidator(_broker_url)]
Release = Annotated[str, AfterValidator(_release)]
ListenAddress = Annotated[str, AfterValidator(_listen)]
QueueList = Annotated[str, AfterValidator(_queues)]
WorkerName = Annotated[str, AfterValidator(_worker_name)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
KeystoneUrl = Annotated[str, AfterValidator(_keystone_url)]
# Empty: dcmanager is not asked.
DcmanagerUrl = Annotated[str, AfterValidator(_dcmanager_url)]
# Kept as the URL that traces are sent to.
CollectorUrl = Annotated[str, AfterValidator(traces_url)]
HeadersFile = Annotated[Path, AfterValidator(_headers_file)]
NetworkList = Annotated[str, AfterValidator(_network_list)]
PathList = Annotated[str, AfterValidator(_path_list)]
TextPath = Annotated[Path, AfterValidator(_text_path)]
CertificatesFile = Annotated[Path, AfterValidator(_certificates)]
# Table of the options of a rollout, as a request has them, that count where neither request nor group gives them.
RolloutTable = Annotated[RolloutOptions, BeforeValidator(_rollout)]
