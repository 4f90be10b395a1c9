"""A client of the API for the demonstration: the requests that an operator would send with curl."""

from __future__ import annotations

import json
from base64 import b64encode
from http.client import HTTPConnection, HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from service.errors import CommandError

_ANSWER_S: Final = 60.0
_STRATEGY: Final = "/v1.0/sw-update-strategy"
_OK: Final = 200


class DemoClient:
    """Sends requests to one service."""

    def __init__(self, url: str, token: str) -> None:
        self._place = urlsplit(url)
        self._headers = {"X-Auth-Token": token, "Accept": "application/json", "Content-Type": "application/json"}

    def create_strategy(self, password: str) -> dict[str, Any]:
        """Create a prestage strategy over the whole fleet and return it, with the sites that it leaves out."""
        body = {"type": "prestage", "sysadmin_password": b64encode(password.encode()).decode()}
        return self._object("POST", _STRATEGY, body)

    def apply_strategy(self) -> dict[str, Any]:
        """Apply the strategy."""
        return self._object("POST", f"{_STRATEGY}/actions", {"action": "apply"})

    def strategy(self) -> dict[str, Any]:
        """Return the strategy."""
        return self._object("GET", _STRATEGY)

    def steps(self) -> list[dict[str, Any]]:
        """Return every step."""
        steps: list[dict[str, Any]] = self._object("GET", f"{_STRATEGY}/steps")["strategy-steps"]
        return steps

    def _object(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send one request.

        Raises:
            CommandError: There was no answer, or another one than 200.
        """
        connection = HTTPConnection(self._place.hostname or "", self._place.port, timeout=_ANSWER_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), self._headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            raise CommandError(f"The service does not answer {method} {path}: {error}") from error
        finally:
            connection.close()
        if response.status != _OK:
            raise CommandError(f"{method} {path} was answered with {response.status}: {content.decode()[:500]}")
        answer: dict[str, Any] = json.loads(content)
        return answer
