"""The part of Keystone v3 that a service account uses: log in with a password, validate and revoke a token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Any, Final

from aiohttp import web

from simulator.site_spec import Account, SiteSpec, unauthorized

SUBJECT_TOKEN: Final = "X-Subject-Token"  # noqa: S105 - a header's name
AUTH_TOKEN: Final = "X-Auth-Token"  # noqa: S105 - a header's name
_TIME_FORM: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
# Tokens one site remembers; the oldest go first.
_MOST_TOKENS: Final = 1000


@dataclass
class Keystone:
    """The tokens of one site."""

    spec: SiteSpec
    # Each token's body and the moment of its end on a clock that never jumps.
    _tokens: dict[str, tuple[dict[str, Any], float]] = field(default_factory=dict)

    def find(self, token: str | None) -> dict[str, Any] | None:
        """Return the body of a token that is good now."""
        body, ends_at = self._tokens.get(token or "", (None, 0.0))
        return body if monotonic() < ends_at else None

    def revoke_all(self) -> None:
        """Make every token bad, as new fernet keys do."""
        self._tokens.clear()

    async def version(self, request: web.Request) -> web.Response:
        """Tell the API's version."""
        links = [{"rel": "self", "href": f"{request.url.origin()}/v3/"}]
        return web.json_response({"version": {"id": "v3.14", "status": "stable", "links": links, "media-types": []}})

    async def log_in(self, request: web.Request) -> web.Response:
        """Give a token for the password in the body."""
        try:
            asked = _asked_account(await request.json())
        except (ValueError, KeyError, TypeError):
            return _error(HTTPStatus.BAD_REQUEST, "Expecting to find valid JSON in request body.")
        account = self.spec.account
        if asked != (
            account.username,
            account.user_domain,
            account.password,
            account.project,
            account.project_domain,
        ):
            return unauthorized()
        token, body = secrets.token_urlsafe(32), _token_body(account, self.spec.token_life_s)
        while len(self._tokens) >= _MOST_TOKENS:
            self._tokens.pop(next(iter(self._tokens)))
        self._tokens[token] = (body, monotonic() + self.spec.token_life_s)
        return web.json_response({"token": body}, status=HTTPStatus.CREATED, headers={SUBJECT_TOKEN: token})

    async def validate(self, request: web.Request) -> web.Response:
        """Show the token that the request asks about."""
        if self.find(request.headers.get(AUTH_TOKEN)) is None:
            return unauthorized()
        subject = request.headers.get(SUBJECT_TOKEN)
        body = self.find(subject)
        if body is None or subject is None:
            return _error(HTTPStatus.NOT_FOUND, "Could not find token.")
        return web.json_response({"token": body}, headers={SUBJECT_TOKEN: subject})

    async def revoke(self, request: web.Request) -> web.Response:
        """Make the token that the request names bad."""
        if self.find(request.headers.get(AUTH_TOKEN)) is None:
            return unauthorized()
        if self._tokens.pop(request.headers.get(SUBJECT_TOKEN, ""), None) is None:
            return _error(HTTPStatus.NOT_FOUND, "Could not find token.")
        return web.Response(status=HTTPStatus.NO_CONTENT)


def _asked_account(body: Any) -> tuple[str, str, str, str, str]:
    identity, scope = body["auth"]["identity"], body["auth"]["scope"]["project"]
    if "password" not in identity["methods"]:
        raise ValueError("only passwords")
    user = identity["password"]["user"]
    return user["name"], user["domain"]["name"], user["password"], scope["name"], scope["domain"]["name"]


def _token_body(account: Account, life_s: float) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "methods": ["password"],
        "user": {"name": account.username, "id": "c0ffee", "domain": {"id": "default", "name": account.user_domain}},
        "project": {"name": account.project, "id": "5e4", "domain": {"id": "default", "name": account.project_domain}},
        "roles": [{"id": role, "name": role} for role in account.roles],
        "audit_ids": [secrets.token_urlsafe(16)],
        "issued_at": now.strftime(_TIME_FORM),
        "expires_at": (now + timedelta(seconds=life_s)).strftime(_TIME_FORM),
        "catalog": [],
    }


def _error(status: HTTPStatus, message: str) -> web.Response:
    return web.json_response(
        {"error": {"code": int(status), "message": message, "title": status.phrase}}, status=status
    )
