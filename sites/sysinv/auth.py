"""The account that logs in at sites, the tokens it got, and whom it trusts."""

from __future__ import annotations

import ssl
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

from sites.errors import ErrorKind, SiteRequestError

# Tokens kept; the oldest go first.
_MOST_TOKENS: Final = 10_000
# A token is renewed this many seconds before its end, or half its life before when that is less.
_MARGIN_S: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class SiteAccount:
    """A Keystone user and the project that it works in."""

    username: str
    # The password itself, or the file that holds it, read at each login: it may be changed under a running service.
    password: str | Path = field(repr=False)
    project: str
    user_domain: str
    project_domain: str

    def login_body(self) -> dict[str, Any]:
        """Return what Keystone v3 wants to see; never log it.

        Raises:
            SiteRequestError: The password's file cannot be read.
        """
        user = {"name": self.username, "domain": {"name": self.user_domain}, "password": self._read_password()}
        scope = {"project": {"name": self.project, "domain": {"name": self.project_domain}}}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}

    def _read_password(self) -> str:
        if isinstance(self.password, str):
            return self.password
        try:
            # The line break that editors leave is not part of it.
            return self.password.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise SiteRequestError(
                ErrorKind.OURS, f"The password of the account cannot be read from {self.password}."
            ) from None


class GivenToken:
    """Stands for an account where a token is all there is: there is no password to log in with."""

    username: Final = "the token"

    def login_body(self) -> dict[str, Any]:
        """Refuse to log in.

        Raises:
            SiteRequestError: Always: the token was not taken, and there is no other.
        """
        raise SiteRequestError(ErrorKind.LOGIN, "The token was not taken (401).")


@dataclass(frozen=True, kw_only=True)
class SiteToken:
    """A token and when to get another, by a clock that never jumps."""

    text: str = field(repr=False)
    renew_at: float


def read_token(text: str | None, body: Any) -> SiteToken:
    """Return the token of a login's answer; its lifetime is the difference of the two times in it.

    Raises:
        SiteRequestError: There is none.
    """
    try:
        issued, expires = (datetime.fromisoformat(body["token"][key]) for key in ("issued_at", "expires_at"))
        life_s = (expires - issued).total_seconds()
    except (KeyError, TypeError, ValueError):
        raise SiteRequestError(ErrorKind.UNUSABLE, "Keystone's answer to the login has no times of a token.") from None
    if not text:
        raise SiteRequestError(ErrorKind.UNUSABLE, "Keystone's answer to the login has no token.")
    return SiteToken(text=text, renew_at=monotonic() + life_s - min(_MARGIN_S, life_s / 2))


class TokenCache:
    """Tokens by the Keystone that gave them."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, SiteToken] = OrderedDict()

    def find(self, keystone_url: str) -> SiteToken | None:
        """Return a token that is good for a while."""
        token = self._tokens.get(keystone_url)
        return token if token is not None and monotonic() < token.renew_at else None

    def keep(self, keystone_url: str, token: SiteToken) -> None:
        """Keep a token instead of the one before."""
        self._tokens.pop(keystone_url, None)
        while len(self._tokens) >= _MOST_TOKENS:
            self._tokens.popitem(last=False)
        self._tokens[keystone_url] = token

    def drop(self, keystone_url: str, token: SiteToken) -> None:
        """Forget a token that was not taken, unless another one was kept meanwhile."""
        if self._tokens.get(keystone_url) is token:
            del self._tokens[keystone_url]


class TlsTrust:
    """The authorities whose certificates are good: those of a file, or the system's.

    The file is read again when it has changed: the authority of a distributed cloud is renewed while services run, and
    connections made with the old one would fail.
    """

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._read: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return what a connection made now verifies the other side with.

        Raises:
            SiteRequestError: The file cannot be read, or holds no certificate.
        """
        try:
            signature = self._signature()
            if self._read is None or self._read[0] != signature:
                self._read = (signature, ssl.create_default_context(cafile=self._ca_file))
        except (OSError, ValueError):
            # SSLError, for a file without certificates, is an OSError.
            raise SiteRequestError(
                ErrorKind.OURS, f"The certificates of authorities cannot be read from {self._ca_file}."
            ) from None
        return self._read[1]

    def _signature(self) -> tuple[int, ...]:
        if self._ca_file is None:
            system = ssl.get_default_verify_paths().cafile
            if system is None:
                return ()
            file = Path(system)
        else:
            file = self._ca_file
        status = file.stat()
        return (status.st_ino, status.st_size, status.st_mtime_ns)
