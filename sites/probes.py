"""One probe of one site, and the probe that only connects to its SSH port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from messages.connection_variables import site_variables

_SSH_PORT: Final = 22
_LARGEST_PORT: Final = 65_535


class ProbeAnswer(StrEnum):
    """Result of one probe."""

    # The site is online.
    GOOD = "good"
    # The site answered, and is not online.
    BAD = "bad"
    # Nothing came from the site.
    SILENT = "silent"
    # Nothing can be said of the site: our login was refused, our trust is outdated, our network is down.
    UNSURE = "unsure"


class Probe(Protocol):
    """A site as a probe sees it."""

    async def ask(self) -> ProbeAnswer:
        """Return what the site says now. Bounded in time; never raises but when cancelled."""

    async def version(self) -> str | None:
        """Return the site's software version, None where it is not known. Bounded and safe as `ask`."""


# Returns the probe of a subcloud, by its row; None when nothing leads there.
ProbeFactory = Callable[[Mapping[Any, Any]], Probe | None]


@dataclass(frozen=True, kw_only=True)
class TcpProbe:
    """The place that playbooks connect to: good when it takes a connection within `timeout_s` seconds."""

    host: str
    port: int
    timeout_s: float

    async def ask(self) -> ProbeAnswer:
        """Connect and hang up."""
        try:
            async with asyncio.timeout(self.timeout_s):
                _, writer = await asyncio.open_connection(self.host, self.port)
        # A name that cannot be encoded for the resolver is a UnicodeError.
        except (OSError, TimeoutError, UnicodeError):
            return ProbeAnswer.SILENT
        # Nothing is sent, so nothing is worth waiting for.
        writer.transport.abort()
        return ProbeAnswer.GOOD

    async def version(self) -> None:
        """Return None: a port has no version."""


def tcp_probe_factory(timeout_s: float) -> ProbeFactory:
    """Return a factory of probes of SSH ports; a site of the local connection, or without address, has none."""

    def make_probe(row: Mapping[Any, Any]) -> TcpProbe | None:
        connection = site_variables(row)
        host = connection.get("ansible_host") or row["oam_floating_ip"]
        if not isinstance(host, str) or connection.get("ansible_connection") == "local":
            return None
        return TcpProbe(host=host, port=_port(connection.get("ansible_port")), timeout_s=timeout_s)

    return make_probe


def _port(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:6]) <= _LARGEST_PORT:
        return _SSH_PORT
    return int(text)
