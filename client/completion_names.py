"""Names that the service knows, for shell completion: within a short time, or none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from client.api_client import ApiClient
from client.contexts import ServerOptions, choose_context, context_names
from client.errors import ClientError
from client.inventory_commands import GROUPS, read_sites
from client.keystone_token import completion_login
from client.strategy_queries import ACTIVE, HISTORY, TYPE
from client.webhook_commands import read_webhooks

# Longest time for the answer, in seconds; without one in time there are no names.
LIMIT_S: Final = 0.3
# A name with other characters could mean something to the shell that it is put into.
_HARMLESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
_PATTERN: Final = frozenset("*?")
_NEWEST: Final = 100


class NameKind(StrEnum):
    """Kinds of names."""

    CONTEXT = "context"
    SITE = "site"
    GROUP = "group"
    PROBLEM = "problem"
    STRATEGY = "strategy"
    RELEASE = "release"
    WORKER = "worker"
    WEBHOOK = "webhook"


def completion_names(
    kind: NameKind, begin: str, options: ServerOptions, environment: Mapping[str, str], *, limit_s: float = LIMIT_S
) -> list[str]:
    """Return the names of a kind that begin so, in order; none where the API does not give them in time.

    Args:
        kind: Kind of the names.

        begin: What has been typed of the name.

        options: Options of the command line that name the API.

        environment: Variables that name it otherwise.

        limit_s: Longest time for the answer, in seconds.
    """
    found: SimpleQueue[list[str]] = SimpleQueue()

    def read() -> None:
        try:
            found.put(sorted(set(_read(kind, begin, options, environment))))
        except (ClientError, AttributeError, LookupError, TypeError):
            # No API, no token, or an answer that is none of Prestager's: there is nobody to tell it to.
            found.put([])

    Thread(target=read, daemon=True).start()
    try:
        names = found.get(timeout=limit_s)
    except Empty:
        return []
    return [name for name in names if name.startswith(begin) and _HARMLESS.fullmatch(name)]


def _read(kind: NameKind, begin: str, options: ServerOptions, environment: Mapping[str, str]) -> Iterator[str]:
    if kind is NameKind.CONTEXT:
        yield from context_names(environment)
        return
    context = choose_context(options, environment)
    api = ApiClient(context, login=completion_login(environment), say=lambda _: None)
    match kind:
        case NameKind.SITE:
            # A pattern is no beginning of a name.
            if not _PATTERN.intersection(begin):
                yield from (one["name"] for one in read_sites(api, cloud=f"{begin}*"))
        case NameKind.GROUP:
            yield from (one["name"] for one in api.read(GROUPS)["subcloud_groups"])
        case NameKind.PROBLEM:
            yield from (one["id"] for one in api.read(ACTIVE, "problems", type=TYPE)["problems"])
        case NameKind.STRATEGY:
            yield from (str(one["id"]) for one in api.read(HISTORY, limit=_NEWEST)["strategies"])
        case NameKind.RELEASE:
            yield from (one["release"] for one in api.read("releases")["releases"])
        case NameKind.WORKER:
            yield from (one["name"] for one in api.read("workers")["workers"] if one["slots"] is not None)
        case NameKind.WEBHOOK:
            yield from (one["name"] for one in read_webhooks(api))
