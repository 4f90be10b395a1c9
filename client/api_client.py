"""Requests to the API: reads once, changes with an Idempotency-Key and again over a restart of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode
from uuid import uuid4

from client.contexts import ServerContext
from client.errors import NotConnectedError, RefusedError, SurroundingsError, UnreachableError, UntrustedError
from client.http_request import HttpAnswer, open_stream, send_request

# A change that the service may have taken is sent again for so long, with pauses between, in seconds.
PATIENCE_S: Final = 60.0
_PAUSE_S: Final = 1.0
_AWAY: Final = frozenset({502, 503, 504})
_OK: Final = 200
_UNAUTHORIZED: Final = 401
_VERSION: Final = "/v1.0"
_STRATEGY: Final = "sw-update-strategy"
_LOGIN_CODE: Final = "/ui/login-code"
# An answer may be the word `null`.
_NO_JSON: Final = object()
_MISSING: Final = frozenset({404, 405})
_REMEDIES: Final[Mapping[int, str]] = {
    401: "Is it the token of this installation? An administrator makes one: prestager token create NAME --role ROLE",
    403: "Ask for a token whose role may do this: configurator, admin, or for reading reader.",
    405: "The service may be of an older release than this command.",
}


class ApiClient:
    """One API.

    Args:
        context: Its address and the token for it.

        login: Returns a token where the context has none; called again when that has expired.

        say: Takes a sentence for the operator about what is waited for.
    """

    def __init__(self, context: ServerContext, *, login: Callable[[], str], say: Callable[[str], None]) -> None:
        self._context = context
        self._login = login
        self._say = say
        self._token = context.token

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

    def read_over_restart(
        self, *path: str, say: Callable[[str], None], pause_s: float = _PAUSE_S, **query: str | int
    ) -> Any:
        """Return what is at a path as `read` does; an API that is away is asked again for a minute.

        Args:
            path: Parts of the path, quoted here.

            say: Takes the sentence for the operator that it is away.

            pause_s: Between two tries, in seconds.

            query: Parameters.
        """
        deadline = time.monotonic() + PATIENCE_S
        is_first = True
        while True:
            try:
                return self.read(*path, **query)
            except UnreachableError as error:
                if time.monotonic() >= deadline:
                    raise
                if is_first:
                    say(f"{error} Looking again for {PATIENCE_S:.0f} s.")
                    is_first = False
                time.sleep(pause_s)

    def change(self, method: str, *path: str, body: Mapping[str, Any] | None = None, **query: str | int) -> Any:
        """Send a change and return the answer; it acts once, however often it has to be sent.

        Over 502, 503, 504 and broken connections it is sent again for a minute; while no connection is made, for the
        seconds of the context. Keys of `body` that are None are left out: they are options that were not given.

        Raises:
            RefusedError: The API refused it; nothing was changed.
            NotConnectedError: No connection was made; nothing was changed.
            UnreachableError: It did not answer for a minute; the change may have happened, or may still.
        """
        headers = {"Idempotency-Key": str(uuid4())}
        given = None if body is None else {key: value for key, value in body.items() if value is not None}
        began_s, patience_s = time.monotonic(), self._context.connect_s
        is_first, is_sent = True, False
        while True:
            try:
                answer = self._send(method, path, query, given, headers)
                if answer.status not in _AWAY:
                    return self._judged(answer)
                fault = self._away(answer)
            except UnreachableError as error:
                fault = error
            if not isinstance(fault, NotConnectedError):
                # Only an answer shows what has become of it.
                is_sent, patience_s = True, max(patience_s, PATIENCE_S)
            if time.monotonic() - began_s >= patience_s:
                if isinstance(fault, NotConnectedError) and not is_sent:
                    raise NotConnectedError(f"{fault} Nothing was changed.", fault.advice)
                raise fault
            if is_first:
                self._say(f"{fault} Trying again for {patience_s:.0f} s.")
                is_first = False
            time.sleep(_PAUSE_S)

    @contextmanager
    def listen(
        self, *path: str, headers: Mapping[str, str], silence_s: float, **query: str | int
    ) -> Iterator[Iterator[bytes]]:
        """Give the lines of an answer that goes on; its path is below the version.

        Args:
            path: Parts of the path, quoted here.

            headers: Sent beside those of every request.

            silence_s: A connection over which nothing comes for so long is given up, in seconds.

            query: Parameters.

        Raises:
            RefusedError: The API refused it.
            UnreachableError: It did not answer, sent the request away, or the answer broke off.
        """
        with open_stream(
            self._url(path, query),
            {"X-Auth-Token": self._known_token(), "Accept": "text/event-stream", **headers},
            silence_s=silence_s,
            ca_file=self._context.ca_file,
        ) as lines:
            if isinstance(lines, HttpAnswer):
                raise self._fault(lines)
            yield lines

    def make_login_link(self) -> Mapping[str, str]:
        """Return a login link of the page for whom the token is of: its `url`, and when it ends (`expires-at`).

        Raises:
            RefusedError: The API refused it, or has no page.
            UnreachableError: It did not answer, or had to send the request away.
        """
        answer = self._send_once("POST", f"{self.url}{_LOGIN_CODE}", None, {})
        if answer.status in _MISSING:
            raise RefusedError(
                f"{self.url} has no page for browsers: PRESTAGER_UI is false there, or it is of an older release.",
                answer.status,
            )
        made = self._judged(answer)
        return {"url": f"{self.url}{made['path']}", "expires-at": made["expires-at"]}

    def _known_token(self) -> str:
        if self._token is None:
            self._token = self._login()
        return self._token

    def _url(self, path: tuple[str, ...], query: Mapping[str, str | int]) -> str:
        url = "/".join([self._context.url + _VERSION, *(quote(part, safe="") for part in path)])
        if path[0] == _STRATEGY:
            # Behind an address that Prestager shares with dcmanager it never means a strategy of that.
            query = {**query, "type": "prestage"}
        return f"{url}?{urlencode(query)}" if query else url

    def _send(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, str | int],
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> HttpAnswer:
        is_old = self._token is not None
        answer = self._send_once(method, self._url(path, query), body, headers)
        if answer.status == _UNAUTHORIZED and is_old and self._context.token is None:
            # Keystone's tokens last an hour or so; a watch may last a night.
            self._token = None
            answer = self._send_once(method, self._url(path, query), body, headers)
        return answer

    def _send_once(
        self, method: str, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> HttpAnswer:
        headers = {
            "X-Auth-Token": self._known_token(),
            "Accept": "application/json",
            **({"Content-Type": "application/json"} if body is not None else {}),
            **headers,
        }
        content = None if body is None else json.dumps(body).encode()
        try:
            return send_request(method, url, headers, content, ca_file=self._context.ca_file)
        except UntrustedError as error:
            raise SurroundingsError(f"{error} Give --ca-file with the authority that signed it.") from None

    def _judged(self, answer: HttpAnswer) -> Any:
        if answer.status != _OK:
            raise self._fault(answer)
        content = _content(answer.body)
        if content is _NO_JSON:
            raise RefusedError(f"{self.url} did not answer with JSON: is it the address of Prestager's API?")
        return content

    def _fault(self, answer: HttpAnswer) -> RefusedError | UnreachableError:
        if answer.status in _AWAY:
            return self._away(answer)
        return RefusedError(self._refusal(answer.status, _content(answer.body)), answer.status)

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
    """Return the JSON of a body, `_NO_JSON` where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _NO_JSON


def _detail(content: Any) -> str:
    """Return what an error says, in one line without the full stop at its end."""
    description = content.get("description") if isinstance(content, dict) else None
    return " ".join(str(description or "").split()).removesuffix(".")
