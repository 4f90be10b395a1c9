"""Get a token from Keystone, as OpenStack's clients do, from `OS_*` in the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from client.errors import NotConnectedError, RefusedError, SurroundingsError, UntrustedError
from client.http_request import HttpAnswer, send_request

_CREATED: Final = 201
_NEEDED: Final = ("OS_USERNAME", "OS_PASSWORD")


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
    return _token(answer, url, environment["OS_USERNAME"])


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
