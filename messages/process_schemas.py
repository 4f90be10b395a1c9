"""Answers about the service itself, as types: who the caller is, processes, queues, health, releases."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

# Pydantic cannot read those of `typing` before Python 3.12.
from typing_extensions import TypedDict

from messages.commands import CommandType, ShellAction, WorkerAction
from messages.schemas import Count, ZonedMoment


class KnownCaller(TypedDict):
    """The caller as the service knows it."""

    name: Annotated[str, Field(description="Name of the token, or of the Keystone user; audit and holds have it.")]
    roles: Annotated[list[str], Field(description="Roles of the caller in the order of the alphabet.")]
    project: Annotated[str | None, Field(description="Project of the token; `admin` for tokens of Prestager's own.")]


Queue = TypedDict(
    "Queue",
    {
        "name": str,
        "ready": Annotated[int | None, Field(description="Messages that wait; null: the queue was never made.")],
        "consumers": int | None,
        "workers": Annotated[list[str], Field(description="Workers that serve it.")],
        "slots": Count,
        "free-slots": Count,
        "meaning": Annotated[str, Field(description="What that means, and what to do about it.")],
    },
)
WebhookState = TypedDict(
    "WebhookState",
    {
        "id": int,
        "name": str,
        "enabled": bool,
        "disabled-reason": str | None,
        "failing-since": Annotated[ZonedMoment | None, Field(description="Since when every try has failed.")],
    },
)
Health = TypedDict(
    "Health",
    {
        "ready": bool,
        "checks": Annotated[
            dict[str, str | None], Field(description="Checks of this process as in /readyz; null: it passes.")
        ],
        "queues": list[Queue],
        "queues-missing": Annotated[str | None, Field(description="Why there are no queues to show.")],
        "dead-letters": Annotated[int | None, Field(description="Messages that were given up; null: not known.")],
        "webhooks": list[WebhookState],
        "versions": Annotated[list[str], Field(description="Versions of the living processes.")],
    },
)
Release = TypedDict(
    "Release",
    {
        "release": str,
        "workers": Annotated[list[str], Field(description="Living workers that see it.")],
        "has-feed": Annotated[bool, Field(description="Whether one of them has its package feed.")],
    },
)


class AskedWorker(TypedDict):
    """A worker that did what it was asked."""

    name: str
    draining: Annotated[bool, Field(description="It finishes its runs and takes no more.")]
    running: Annotated[int, Field(ge=0, description="Runs that it works on now.")]


class ReleaseList(TypedDict):
    """The releases of the controller."""

    releases: list[Release]


Worker = TypedDict(
    "Worker",
    {
        "id": Annotated[str, Field(description="Another one after each start.")],
        "name": Annotated[str, Field(description="PRESTAGER_WORKER_NAME.")],
        "host": str,
        "roles": Annotated[list[str], Field(description="Of `api`, `coordinator` and `worker`.")],
        "version": str,
        "queues": Annotated[list[str], Field(description="Queues that a worker serves.")],
        "slots": Annotated[int | None, Field(description="Playbooks at once; null without the role `worker`.")],
        "running": Annotated[int | None, Field(description="Playbooks that run now.")],
        "prechecks": Annotated[int | None, Field(description="Sites whose facts are being read now.")],
        "draining": Annotated[bool, Field(description="It finishes its runs and takes no more.")],
        "releases": Annotated[
            list[str] | None,
            Field(description="Releases with a directory in PRESTAGER_DEPLOY_DIR; null: not looked at yet."),
        ],
        "feeds": Annotated[
            list[str] | None,
            Field(description="Releases with a feed in PRESTAGER_FEED_DIR; null: not looked at yet."),
        ],
        "playbooks-error": Annotated[
            str | None, Field(description="First error of its playbooks; empty: none, null: not looked at.")
        ],
        "key-ids": Annotated[list[str], Field(description="Ids of the secret keys it knows; the first one seals.")],
        "alive": Annotated[bool, Field(description="It was seen within the last 30 s, by the database's clock.")],
        "started-at": ZonedMoment,
        "last-seen-at": ZonedMoment,
        "last-seen-s": Annotated[float, Field(description="Seconds since it was seen last.")],
    },
)


AuditEntry = TypedDict(
    "AuditEntry",
    {
        "id": int,
        "at": ZonedMoment,
        "caller": str,
        "origin": Annotated[str | None, Field(description="Address that the API was called from; null by AMQP.")],
        "user-id": Annotated[
            str | None,
            Field(
                description="RabbitMQ user that published the command, as RabbitMQ vouches for it; `caller` is the"
                " source that the publisher claims. Null over HTTP, and where the publisher sent no `user_id`."
            ),
        ],
        "command-id": str,
        "type": CommandType | ShellAction | WorkerAction,
        "subject": str | None,
        "status": Annotated[int, Field(description="HTTP status of the answer.")],
        "detail": Annotated[str, Field(description="Why it was refused; otherwise empty.")],
    },
)
