"""Get a token from Keystone, as OpenStack's clients do, from `OS_*` in the environment.

A token is kept below `XDG_RUNTIME_DIR`, which is the user's alone, in memory, and ends with their last session.
Completion takes it from there, for a login takes longer than Tab may. Commands log in each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from client.errors import NotConnectedError, RefusedError, SurroundingsError, UntrustedError
from client.http_request import HttpAnswer, send_request

_CREATED: Final = 201
_NEEDED: Final = ("OS_USERNAME", "OS_PASSWORD")
# What tells one login from another; never the password.
_LOGIN: Final = (
    *("OS_AUTH_URL", "OS_USERNAME", "OS_PROJECT_NAME", "OS_TENANT_NAME"),
    *("OS_USER_DOMAIN_ID", "OS_USER_DOMAIN_NAME", "OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME"),
)
_MARGIN: Final = timedelta(minutes=1)
_OTHERS: Final = 0o077
# Longer is no token, in characters.
_LONGEST: Final = 8192


def keystone_token(environment: Mapping[str, str]) -> str:
    """Log in at `OS_AUTH_URL` with user and password, for the project that the environment names.

    Raises:
        SurroundingsError: A variable is missing or of no use, or the certificate is not trusted.
        RefusedError: Keystone refused the login.
        UnreachableError: It did not answer.
    """
    missing = [name for name in _NEEDED if not environment.get(name)]
    project = environment.get("OS_PROJECT_NAME") or environment.get("OS_TENANT_NAME")
    if not project:
        missing.append("OS_PROJECT_NAME")
    if missing:
        raise SurroundingsError(f"Keystone needs {' and '.join(missing)} in the environment, or give --token-file.")
    url = _address(environment["OS_AUTH_URL"])
    body = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {
                    "user": {
                        "name": environment["OS_USERNAME"],
                        "domain": _domain(environment, "USER"),
                        "password": environment["OS_PASSWORD"],
                    }
                },
            },
            "scope": {
                "project": {
                    "name": project,
                    "domain": _domain(environment, "PROJECT"),
                }
            },
        }
    }
    answer = _ask(f"{url}/auth/tokens", body, environment.get("OS_CACERT") or None)
    token = _token(answer, url, environment["OS_USERNAME"])
    _keep(environment, token, answer.body)
    return token


def completion_login(environment: Mapping[str, str]) -> Callable[[], str]:
    """Return a login as `keystone_token`, which gives a kept token first, while that has not expired."""
    kept = list(filter(None, [_kept(environment)]))
    # Asked again because the first was refused, it logs in.
    return lambda: kept.pop() if kept else keystone_token(environment)


def _kept(environment: Mapping[str, str]) -> str | None:
    place = _place(environment)
    if place is None:
        return None
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, encoding="utf-8") as source:
            found = os.fstat(descriptor)
            if found.st_uid != os.getuid() or found.st_mode & _OTHERS:
                return None
            expires_at, token = source.read(_LONGEST).split()
        left = datetime.fromisoformat(expires_at) - datetime.now(UTC)
    except (OSError, ValueError, TypeError):
        # None is there, or it is none of ours: the operator logs in.
        return None
    return token if left > _MARGIN else None


def _keep(environment: Mapping[str, str], token: str, body: bytes) -> None:
    place = _place(environment)
    if place is None:
        return
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        expires_at = json.loads(body)["token"]["expires_at"]
        place.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as target:
            target.write(f"{expires_at}\n{token}\n")
        draft.replace(place)
    except (OSError, ValueError, LookupError, TypeError):
        # Tab does without.
        with suppress(OSError):
            draft.unlink()


def _place(environment: Mapping[str, str]) -> Path | None:
    """Return the file for the token of this login; None: there is no folder for it."""
    folder = environment.get("XDG_RUNTIME_DIR")
    if not folder:
        return None
    login = json.dumps({name: environment.get(name) for name in _LOGIN})
    return Path(folder) / "prestager" / f"keystone-{sha256(login.encode()).hexdigest()[:16]}"


def _address(text: str) -> str:
    parts = urlsplit(text)
    try:
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SurroundingsError(f"OS_AUTH_URL is '{text}', which is no address; it has the form https://host:5000/v3.")
    url = text.rstrip("/")
    return url if url.endswith("/v3") else f"{url}/v3"


def _domain(environment: Mapping[str, str], whose: str) -> dict[str, str]:
    by_id = environment.get(f"OS_{whose}_DOMAIN_ID")
    return {"id": by_id} if by_id else {"name": environment.get(f"OS_{whose}_DOMAIN_NAME") or "Default"}


def _ask(url: str, body: Mapping[str, Any], ca_file: str | None) -> HttpAnswer:
    content = json.dumps(body).encode()
    try:
        return send_request("POST", url, {"Content-Type": "application/json"}, content, ca_file=ca_file)
    except NotConnectedError as error:
        raise NotConnectedError(str(error), "OS_AUTH_URL is the address of Keystone.") from None
    except UntrustedError as error:
        raise SurroundingsError(f"{error} Keystone's authority is what OS_CACERT names.") from None


def _token(answer: HttpAnswer, url: str, user: str) -> str:
    token = answer.headers.get("x-subject-token")
    if answer.status != _CREATED or not token:
        raise RefusedError(
            f"Keystone at {url} refused the login of {user} ({answer.status}): check OS_USERNAME, OS_PASSWORD, the"
            " project and the domains.",
            answer.status,
        )
    return token
