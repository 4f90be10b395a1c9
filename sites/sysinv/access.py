"""Address, account and timeouts with which a Keystone and the service behind it are asked."""

from __future__ import annotations

from dataclasses import dataclass

from sites.sysinv.auth import GivenToken, SiteAccount, TlsTrust, TokenCache


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Timeouts, in seconds."""

    # For a connection, its TLS included.
    connect_s: float = 10.0
    # For the next bytes of an answer.
    read_s: float = 60.0
    # Before a request is repeated.
    pause_s: float = 5.0
    # Tries of one request; what a pause does not heal is tried once.
    tries: int = 2


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address and account of one system."""

    # Keystone with its version: https://192.168.101.2:5001/v3
    keystone_url: str
    # The service without a version: https://192.168.101.2:6386
    service_url: str
    # USM of the same system: https://192.168.101.2:5498; None: it is not asked.
    usm_url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Access:
    """State that all sessions share."""

    account: SiteAccount | GivenToken
    trust: TlsTrust
    timeouts: Timeouts
    tokens: TokenCache
