"""Objects that handlers find at the application and at a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from api.auth import Authenticator, Caller
from api.database_reader import DatabaseReader
from api.login_tries import LoginTries
from broker.queue_states import State
from db.encryption import Sealer
from db.tokens import LoginCodes
from messages.commands import CommandTransport, WorkerAction

QueueStates = Callable[[], Mapping[str, State] | None]
# Returns one entry per check: None when it passes, otherwise one sentence. It is public: no secret, no address.
Readiness = Callable[[], Awaitable[Mapping[str, str | None]]]


class AskWorker(Protocol):
    """Has a worker drain, or take runs again."""

    def __call__(self, worker: str, action: WorkerAction, *, caller: str, origin: str) -> int | None:
        """Return how many runs it works on, once that is in the audit; None: one process does everything.

        Blocks for seconds.

        Raises:
            PrestagerError: The broker or the worker does not answer.
        """


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """Limits of the size of requests and of the time that they take."""

    # Largest JSON body, after decompression.
    json_bytes: int = 1024 * 1024
    # Largest multipart body, all parts together.
    multipart_bytes: int = 4 * 1024 * 1024
    # Largest bootstrap_values file.
    yaml_bytes: int = 256 * 1024
    # Most parts of a multipart body.
    part_count: int = 100
    # Longest time to send a body, in seconds.
    body_s: float = 30.0
    # Longest time of the readiness checks together, in seconds.
    readiness_s: float = 5.0


class RequestMetrics(Protocol):
    """Counter of requests. Quick, and never raises."""

    def request_answered(self, method: str, route: str, status: int, took_s: float) -> None:
        """Count a request; `route` is the template of its path."""


@dataclass(frozen=True, kw_only=True)
class PageServices:
    """Services of the page at /ui.

    Attributes:
        codes: Codes of login links.

        tries: Bound of the tries to log in.

        may_be_plain: Whether logins over plain HTTP are taken from other machines too.
    """

    codes: LoginCodes
    tries: LoginTries
    may_be_plain: bool = False


@dataclass(frozen=True, kw_only=True)
class Services:
    """Services that the handlers use."""

    reads: DatabaseReader
    transport: CommandTransport
    sealer: Sealer
    authenticator: Authenticator
    readiness: Readiness
    # Whether the process was ready once.
    started: Callable[[], bool]
    limits: RequestLimits
    # States of the queues; None: there is no RabbitMQ. Blocks for seconds.
    queue_states: QueueStates
    ask_worker: AskWorker
    # None: requests are not counted.
    metrics: RequestMetrics | None = None


SERVICES: Final = web.AppKey("services", Services)
# Missing where there is no page.
PAGE: Final = web.AppKey("page", PageServices)
CALLER: Final = web.RequestKey("caller", Caller)
# Id of the command that the request became.
COMMAND: Final = web.RequestKey("command", str)
