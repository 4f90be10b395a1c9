"""Get a token from Keystone, as OpenStack's clients do, from `OS_*` in the environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from client.errors import RefusedError, SurroundingsError
from client.http_request import HttpAnswer, send_request

_CREATED: Final = 201
_NEEDED: Final = ("OS_USERNAME", "OS_PASSWORD")


def keystone_token(environment: Mapping[str, str]) -> str:
    """Log in at `OS_AUTH_URL` with user and password, for the project that the environment names.

    Raises:
        SurroundingsError: A variable is missing.
        RefusedError: Keystone refused the login.
        UnreachableError: It did not answer.
    """
    missing = [name for name in _NEEDED if not environment.get(name)]
    project = environment.get("OS_PROJECT_NAME") or environment.get("OS_TENANT_NAME")
    if not project:
        missing.append("OS_PROJECT_NAME")
    if missing:
        raise SurroundingsError(f"Keystone needs {' and '.join(missing)} in the environment, or give --token-file.")
    auth_url = environment["OS_AUTH_URL"].rstrip("/")
    url = auth_url if auth_url.endswith("/v3") else f"{auth_url}/v3"
    body = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {
                    "user": {
                        "name": environment["OS_USERNAME"],
                        "domain": {"name": environment.get("OS_USER_DOMAIN_NAME") or "Default"},
                        "password": environment["OS_PASSWORD"],
                    }
                },
            },
            "scope": {
                "project": {
                    "name": project,
                    "domain": {"name": environment.get("OS_PROJECT_DOMAIN_NAME") or "Default"},
                }
            },
        }
    }
    answer = send_request(
        "POST",
        f"{url}/auth/tokens",
        {"Content-Type": "application/json"},
        json.dumps(body).encode(),
        ca_file=environment.get("OS_CACERT"),
    )
    return _token(answer, url, environment["OS_USERNAME"])


def _token(answer: HttpAnswer, url: str, user: str) -> str:
    token = answer.headers.get("x-subject-token")
    if answer.status != _CREATED or not token:
        raise RefusedError(
            f"Keystone at {url} refused the login of {user} ({answer.status}): check OS_USERNAME, OS_PASSWORD, the"
            " project and the domains.",
            answer.status,
        )
    return token
