"""Requests to the API: reads once, changes with an Idempotency-Key and again over a restart of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

from client.contexts import ServerContext
from client.errors import RefusedError, UnreachableError
from client.http_request import HttpAnswer, send_request

# A change is sent again for so long, with pauses between, in seconds.
PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 1.0
_AWAY: Final = frozenset({502, 503, 504})
_OK: Final = 200
_VERSION: Final = "/v1.0"
_REMEDIES: Final[Mapping[int, str]] = {
    401: "Is it the token of this installation? An administrator makes one: prestager token create NAME --role ROLE",
    403: "Ask for a token whose role may do this: configurator, admin, or for reading reader.",
    405: "The service may be of an older release than this command.",
}


class ApiClient:
    """One API.

    Args:
        context: Its address and the token for it.

        login: Returns a token where the context has none; called at most once.

        say: Takes a sentence for the operator about what is waited for.
    """

    def __init__(self, context: ServerContext, *, login: Callable[[], str], say: Callable[[str], None]) -> None:
        self._context = context
        self._login = login
        self._say = say

    @property
    def url(self) -> str:
        """Address of the API."""
        return self._context.url

    def read(self, *path: str, **query: str | int) -> Any:
        """Return what is at a path below the version; its parts are quoted here.

        Raises:
            RefusedError: The API refused it.
            UnreachableError: It did not answer, or had to send the request away.
        """
        answer = self._send("GET", path, query, None, {})
        return self._judged(answer)

    def change(self, method: str, *path: str, body: Mapping[str, Any] | None = None, **query: str | int) -> Any:
        """Send a change and return the answer; it acts once, however often it has to be sent.

        Over 502, 503, 504 and broken connections it is sent again for a minute. Keys of `body` that are None are left
        out: they are options that were not given.

        Raises:
            RefusedError: The API refused it; nothing was changed.
            UnreachableError: It did not answer for a minute; the change may have happened, or may still.
        """
        headers = {"Idempotency-Key": str(uuid4())}
        given = None if body is None else {key: value for key, value in body.items() if value is not None}
        deadline = time.monotonic() + PATIENCE_S
        is_first = True
        while True:
            try:
                answer = self._send(method, path, query, given, headers)
                if answer.status not in _AWAY:
                    return self._judged(answer)
                fault = self._away(answer)
            except UnreachableError as error:
                fault = error
            if time.monotonic() >= deadline:
                raise fault
            if is_first:
                self._say(f"{fault} Trying again for {PATIENCE_S:.0f} s.")
                is_first = False
            time.sleep(_PAUSE_S)

    @cached_property
    def _token(self) -> str:
        return self._context.token or self._login()

    def _send(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> HttpAnswer:
        url = "/".join([self._context.url + _VERSION, *(quote(part, safe="") for part in path)])
        return send_request(
            method,
            f"{url}?{urlencode(query)}" if query else url,
            {
                "X-Auth-Token": self._token,
                "Accept": "application/json",
                **({"Content-Type": "application/json"} if body is not None else {}),
                **headers,
            },
            None if body is None else json.dumps(body).encode(),
            ca_file=self._context.ca_file,
        )

    def _judged(self, answer: HttpAnswer) -> Any:
        if answer.status in _AWAY:
            raise self._away(answer)
        content = _content(answer.body)
        if answer.status != _OK:
            raise RefusedError(self._refusal(answer.status, content), answer.status)
        if content is None:
            raise RefusedError(f"{self.url} did not answer with JSON: is it the address of Prestager's API?")
        return content

    def _away(self, answer: HttpAnswer) -> UnreachableError:
        detail = _detail(_content(answer.body))
        return UnreachableError(f"{self.url} cannot do it now ({answer.status}){f': {detail}' if detail else ''}.")

    def _refusal(self, status: int, content: Any) -> str:
        detail = _detail(content)
        if not detail:
            return f"{self.url} refused it with {status}: is it the address of Prestager's API?"
        remedy = _REMEDIES.get(status)
        return f"{detail}. {remedy}" if remedy else f"{detail}."


def _content(body: bytes) -> Any:
    """Return the JSON of a body; None: it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _detail(content: Any) -> str:
    """Return what an error says, in one line without the full stop at its end."""
    description = content.get("description") if isinstance(content, dict) else None
    return " ".join(str(description or "").split()).removesuffix(".")
