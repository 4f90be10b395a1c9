"""Turns dcmanager's configuration into our settings. Pure: it reads a text and returns values; no file, no server.

Nothing that it says holds a value: passwords stand in addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as IniError
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DATABASE: Final = "prestager"
VHOST: Final = "prestager"
PORT: Final = 8219
# Ours; dcmanager has one limit for all playbooks, ours for images is longer by default.
_IMAGES_DEADLINE_S: Final = 7200.0
_USM_PORT: Final = 5497
_DCMANAGER_PORT: Final = "8119"
# What has no meaning here, and why.
_NEEDLESS: Final = {
    ("DEFAULT", "workers"): "parts are processes of their own",
    ("DEFAULT", "orch_workers"): "one coordinator is active",
    ("DEFAULT", "orch_worker_workers"): "slots says how many playbooks run at once",
    ("DEFAULT", "state_workers"): "states of sites are not kept for dcmanager",
    ("DEFAULT", "audit_workers"): "the probe is one task",
    ("DEFAULT", "audit_worker_workers"): "the probe is one task",
    ("DEFAULT", "use_syslog"): "the log goes to the journal",
    ("DEFAULT", "syslog_log_facility"): "the log goes to the journal",
    ("keystone_authtoken", "region_name"): "no catalogue is looked into",
}


@dataclass(kw_only=True)
class Mapped:
    """Values of dcmanager's configuration that become settings."""

    # Name of a setting → its value, never a secret.
    settings: dict[str, str | int | float] = field(default_factory=dict)
    # Name of a setting that names a file → the secret that belongs into the file.
    secrets: dict[str, str] = field(default_factory=dict)
    # What is wrong, one sentence each.
    faults: list[str] = field(default_factory=list)
    # What the operator should know or do, one sentence each.
    notes: list[str] = field(default_factory=list)


class _Source:
    """dcmanager's configuration, which remembers what of it was asked for."""

    def __init__(self, parser: ConfigParser) -> None:
        self._parser = parser
        self._asked: set[tuple[str, str]] = set()

    def get(self, section: str, *names: str) -> str | None:
        """Return the first of some options that is set; later ones are older names of it."""
        self._asked.update((section, name) for name in names)
        values = (self._parser.get(section, name, fallback="").strip() for name in names)
        return next((value for value in values if value), None)

    def left(self) -> Iterator[tuple[str, str]]:
        for section in self._parser.sections():
            for name in self._parser.options(section):
                if (section, name) not in self._asked:
                    yield section, name


def map_dcmanager(text: str) -> Mapped:
    """Return our settings for a `dcmanager.conf`."""
    # Without inheritance between sections; oslo allows an option to be repeated, and the last one counts.
    parser = ConfigParser(
        default_section="\0", interpolation=None, strict=False, delimiters=("=",), comment_prefixes=("#", ";")
    )
    mapped = Mapped()
    try:
        parser.read_string(text)
    except IniError as error:
        # The original message quotes the line.
        line = getattr(error, "lineno", None) or next((line for line, _ in getattr(error, "errors", ())), None)
        mapped.faults.append(f"It is not the INI file of a service{f': see line {line}' if line else ''}.")
        return mapped
    source = _Source(parser)
    _map_broker(source, mapped)
    _map_database(source, mapped)
    _map_listen(source, mapped)
    _map_deadlines(source, mapped)
    _map_callers(source, mapped)
    _map_sites(source, mapped)
    _tell_what_is_left(source, mapped)
    return mapped


def _map_broker(source: _Source, mapped: Mapped) -> None:
    url = source.get("DEFAULT", "transport_url")
    if url is None:
        mapped.faults.append("[DEFAULT] transport_url is missing: without a broker the parts cannot run by themselves.")
        return
    scheme, _, rest = url.partition("://")
    if scheme not in {"rabbit", "amqp", "kombu"} or not rest:
        mapped.faults.append("[DEFAULT] transport_url is not an address of RabbitMQ (rabbit://...).")
        return
    servers = rest.partition("/")[0].split(",")
    if len(servers) > 1:
        mapped.notes.append("transport_url names several servers; the first is taken.")
    is_tls = (source.get("oslo_messaging_rabbit", "ssl", "rabbit_use_ssl") or "").lower() in {"true", "1", "yes", "on"}
    mapped.secrets["broker_url_file"] = f"{'amqps' if is_tls else 'amqp'}://{servers[0]}/{VHOST}"
    user = quote(urlsplit(f"amqp://{servers[0]}").username or "guest")
    mapped.notes.append(
        f"The broker's virtual host is our own. Make it: rabbitmqctl add_vhost {VHOST} &&"
        f" rabbitmqctl set_permissions -p {VHOST} {user} '.*' '.*' '.*'"
    )


def _map_database(source: _Source, mapped: Mapped) -> None:
    text = source.get("database", "connection")
    if text is None:
        mapped.faults.append("[database] connection is missing.")
        return
    try:
        url = make_url(text)
    except ArgumentError:
        mapped.faults.append("[database] connection is not a database's address.")
        return
    if url.get_backend_name() != "postgresql":
        mapped.faults.append(f"[database] connection is of {url.get_backend_name()}; only PostgreSQL is taken over.")
        return
    # Their tables and ours have the same names; ours must never be where theirs are.
    if url.database == DATABASE:
        mapped.faults.append(
            f"[database] connection names the database {DATABASE!r}, which is the one that we would make: this file is"
            " not dcmanager's own, or somebody put its tables where ours belong."
        )
        return
    own: URL = url.set(drivername="postgresql+psycopg", database=DATABASE)
    mapped.secrets["database_url_file"] = own.render_as_string(hide_password=False)
    mapped.notes.append(
        f"The database is our own, never dcmanager's. Make it: sudo -u postgres createdb"
        f" --owner='{url.username or 'prestager'}' {DATABASE}"
    )


def _map_listen(source: _Source, mapped: Mapped) -> None:
    host = source.get("DEFAULT", "bind_host") or "127.0.0.1"
    address = f"[{host}]" if ":" in host else host
    mapped.settings["listen"] = f"{address}:{PORT}"


def _map_deadlines(source: _Source, mapped: Mapped) -> None:
    text = source.get("DEFAULT", "playbook_timeout")
    if text is None:
        return
    try:
        limit_s = float(text)
    except ValueError:
        limit_s = 0.0
    if not 0 < limit_s < float("inf"):
        mapped.faults.append("[DEFAULT] playbook_timeout is not a number of seconds above 0.")
        return
    mapped.settings["prepare_deadline_s"] = limit_s
    mapped.settings["packages_deadline_s"] = limit_s
    mapped.settings["images_deadline_s"] = max(limit_s, _IMAGES_DEADLINE_S)


def _map_callers(source: _Source, mapped: Mapped) -> None:
    """Map how tokens are checked."""
    section = "keystone_authtoken"
    url = source.get(section, "auth_url", "auth_uri", "www_authenticate_uri")
    password = source.get(section, "password")
    if url is None or password is None:
        mapped.notes.append("[keystone_authtoken] has no auth_url or no password: callers are known by our own tokens.")
        return
    mapped.settings["auth"] = "keystone"
    mapped.settings["keystone_auth_url"] = _keystone(url)
    mapped.secrets["keystone_password_file"] = password
    _map_account(source, mapped, section, "keystone")


def _map_sites(source: _Source, mapped: Mapped) -> None:
    """Map the login at the sites, whose facts are read."""
    section = "endpoint_cache"
    url, password = source.get(section, "auth_uri", "auth_url"), source.get(section, "password")
    if url is None or password is None:
        mapped.notes.append("[endpoint_cache] has no auth_uri or no password: facts of sites are as declared.")
        return
    host = urlsplit(url).hostname or ""
    mapped.settings["inspector"] = "sysinv"
    mapped.settings["controller_keystone_url"] = _keystone(url)
    mapped.settings["dcmanager_url"] = _dcmanager(source, host)
    mapped.settings["controller_url"] = f"http://{f'[{host}]' if ':' in host else host}:{_USM_PORT}"
    mapped.secrets["site_password_file"] = password
    _map_account(source, mapped, section, "site")


def _dcmanager(source: _Source, controller: str) -> str:
    """Return the address of dcmanager's own API; one that listens everywhere is at the controller's address."""
    bound = source.get("DEFAULT", "bind_host") or controller
    host = controller if bound in {"0.0.0.0", "::"} else bound  # noqa: S104 - compared with
    port = source.get("DEFAULT", "bind_port") or _DCMANAGER_PORT
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1.0"


def _map_account(source: _Source, mapped: Mapped, section: str, prefix: str) -> None:
    for ours, theirs in {
        "username": ("username",),
        "project": ("project_name",),
        "user_domain": ("user_domain_name",),
        "project_domain": ("project_domain_name",),
    }.items():
        value = source.get(section, *theirs)
        if value is not None:
            mapped.settings[f"{prefix}_{ours}"] = value


def _keystone(url: str) -> str:
    """Return the address with the version, which some configurations leave out."""
    return url.rstrip("/") if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v3"


def _tell_what_is_left(source: _Source, mapped: Mapped) -> None:
    left = list(source.left())
    for place in left:
        if place in _NEEDLESS:
            mapped.notes.append(f"[{place[0]}] {place[1]} is not taken over: {_NEEDLESS[place]}.")
    others = [f"[{section}] {name}" for section, name in left if (section, name) not in _NEEDLESS]
    if others:
        mapped.notes.append(f"Not taken over, for there is nothing like it here: {', '.join(others)}.")
