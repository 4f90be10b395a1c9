"""`prestager events`, `audit`, `releases`, `version`: the service and what it did, as the API shows it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import typer

from client.api_client import ApiClient
from client.client_command import Invocation, Reads, client_command
from client.errors import ClientError, TimeIsUpError, UnreachableError
from client.event_stream import SNAPSHOT, EventMessage, FollowedEvents, read_messages
from client.output import OutputFormat, Record, ShownField, print_found, print_record, print_records, printable, say
from client.strategy_queries import given_filters, moment_text
from messages.process_info import program_version

_EVENTS: Final = "events"
# Of a subcloud that there cannot be: the snapshot has nothing but its number.
_NOBODY: Final = "-"
_SILENCE_S: Final = 40.0
# Longest wait for one event of a stream that is followed, before Ctrl-C is looked at, in seconds.
_TURN_S: Final = 1.0
# Of the types of events as they are published; filters go without it.
_PREFIX: Final = "io.prestager.event."
_NOT_LOOKED: Final = "?"


def _state_text(worker: Record) -> str:
    if not worker["alive"]:
        return "lost"
    return "draining" if worker["draining"] else "alive"


def _running_text(worker: Record) -> str:
    return "" if worker["slots"] is None else f"{worker['running']} of {worker['slots']}"


def _prechecks_text(worker: Record) -> str:
    return "" if worker["slots"] is None else str(worker["prechecks"])


def _playbooks_text(worker: Record) -> str:
    if worker["slots"] is None:
        return ""
    return _NOT_LOOKED if worker["playbooks-error"] is None else worker["playbooks-error"] or "ok"


def _listed(worker: Record, key: str) -> str:
    return _NOT_LOOKED if worker[key] is None else ",".join(worker[key])


_PROCESSES: Final = (
    ShownField(key="name", title="NAME"),
    ShownField(key="roles", title="ROLE", text="+".join),
    ShownField(key="host", title="HOST"),
    ShownField(key="state", title="STATE", whole=_state_text),
    ShownField(key="running", title="RUNNING", whole=_running_text),
    ShownField(key="prechecks", title="PRECHECKS", is_spare=True, whole=_prechecks_text),
    ShownField(key="version", title="VERSION", is_spare=True),
    ShownField(key="releases", title="RELEASES", is_spare=True, whole=lambda one: _listed(one, "releases")),
    ShownField(key="feeds", title="FEEDS", is_spare=True, whole=lambda one: _listed(one, "feeds")),
    ShownField(key="key-ids", title="KEYS", is_spare=True, whole=lambda one: _listed(one, "key-ids")),
    ShownField(key="playbooks-error", title="PLAYBOOKS", whole=_playbooks_text),
    ShownField(key="started-at", title="STARTED (UTC)", is_wide=True, text=moment_text),
    ShownField(key="last-seen-s", title="SEEN", text=lambda seconds: f"{max(0.0, seconds):.0f} s ago"),
)


def print_processes(reads: Reads, form: OutputFormat) -> None:
    """Print every process of the installation as it reported itself last."""
    found = reads.read("workers")["workers"]
    if not found:
        say("No process has reported itself. Start one: prestager up")
    if found or form is not OutputFormat.TABLE:
        print_records(found, _PROCESSES, form, "name")


def _subject_text(event: Record) -> str:
    return str(event["data"].get("subcloud") or event.get("subject") or "")


def _details_text(event: Record) -> str:
    told = event["data"].get("details") or event["data"].get("reason") or event["data"].get("task") or ""
    return str(told)


_EVENT_FIELDS: Final = (
    ShownField(key="time", title="TIME (UTC)", text=moment_text),
    ShownField(key="type", title="EVENT", text=lambda kind: kind.removeprefix(_PREFIX)),
    ShownField(key="subject", title="OF", whole=_subject_text),
    ShownField(key="id", title="NUMBER", is_wide=True),
    ShownField(key="data.details", title="DETAILS", whole=_details_text),
)


@client_command
def events(
    invocation: Invocation,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,  # noqa: FBT002 - an option of the shell
    kind: Annotated[
        str | None, typer.Option("--type", help="Only events whose type begins so, such as step.prestage.failed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, max=10000, help="How many of the newest events are looked at.")] = 100,
    timeout: Annotated[float | None, typer.Option(min=0, help="Follow for so many seconds at most.")] = None,
) -> None:
    """List the newest events, the oldest first: what the service did and found, and with --follow what happens next.

    A connection that breaks is made anew without a gap. Exit code 5: --timeout is over.
    """
    last, found = _newest(invocation.api, limit)
    shown = [event for event in found if _is_wanted(event, kind)]
    if not follow:
        print_records(shown, _EVENT_FIELDS, invocation.form, "id")
        return
    form = OutputFormat.JSONL if invocation.form is OutputFormat.JSON else invocation.form
    lines = _EventLines(form)
    lines.print(shown)
    filters = {} if kind is None else {"type": kind}
    with FollowedEvents(invocation.api, last=last, **filters) as stream:
        deadline = None if timeout is None else time.monotonic() + timeout
        while deadline is None or time.monotonic() < deadline:
            message = stream.take(_TURN_S)
            if message is not None and message.kind == SNAPSHOT:
                say(f"Some events may be missing here: {message.data['reason']}.")
            elif message is not None:
                lines.print([message.content])
            elif stream.is_refused:
                raise UnreachableError(f"{invocation.api.url} gives no more events; try again.")
    raise TimeIsUpError(f"Followed for {timeout:g} s.")


def _is_wanted(event: Record, kind: str | None) -> bool:
    return kind is None or str(event["type"]).removeprefix(_PREFIX).startswith(kind)


def _newest(api: ApiClient, limit: int) -> tuple[str, list[Record]]:
    """Return the number of the newest event, and the newest events that the service still keeps."""
    last = next(_messages(api)).number
    wanted = min(limit, int(last))
    while wanted > 0:
        found: list[Record] = []
        for message in _messages(api, after=int(last) - wanted):
            if message.kind == SNAPSHOT:
                # They are not kept for so long.
                wanted //= 2
                break
            found.append(message.content)
            if int(message.number) >= int(last):
                return last, found
        else:
            return last, found
    return last, []


def _messages(api: ApiClient, after: int | None = None) -> Iterator[EventMessage]:
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    filters = {"subcloud": _NOBODY} if after is None else {}
    with api.listen(_EVENTS, headers=headers, silence_s=_SILENCE_S, **filters) as lines:
        yield from read_messages(lines)


class _EventLines:
    """Prints events as they come, each as one line."""

    def __init__(self, form: OutputFormat) -> None:
        self._form = form
        self._is_first = True

    def print(self, events: Sequence[Record]) -> None:
        if self._form in {OutputFormat.JSONL, OutputFormat.NAME}:
            print_records(events, _EVENT_FIELDS, self._form, "id")
        elif self._form is OutputFormat.CSV:
            print_records(events, _EVENT_FIELDS, self._form, "id", has_head=self._is_first)
        else:
            is_wide = self._form is OutputFormat.WIDE
            fields = [field for field in _EVENT_FIELDS if is_wide or not field.is_wide]
            for event in events:
                typer.echo("  ".join(filter(None, (field.of(event) for field in fields))))
        self._is_first = False
        sys.stdout.flush()


_AUDIT_FIELDS: Final = (
    ShownField(key="at", title="time (UTC)", text=moment_text),
    ShownField(key="caller", title="by"),
    ShownField(key="type", title="command"),
    ShownField(key="subject", title="of"),
    ShownField(key="status", title="status"),
    ShownField(key="origin", title="from", is_wide=True),
    ShownField(key="user-id", title="broker user", is_wide=True),
    ShownField(key="command-id", title="id", is_wide=True),
    ShownField(key="detail", title="why it was refused"),
)


@client_command
def audit(
    invocation: Invocation,
    caller: Annotated[str | None, typer.Option(help="Only what this one asked for, as `whoami` names them.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only this command, such as strategy.create.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="Nothing earlier, such as 2026-11-22T08:00:00; UTC.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 50,
) -> None:
    """List who asked for what, newest first: commands that were carried out and such as were refused.

    It needs the role admin. Status 200: carried out.
    """
    given = given_filters({"caller": caller, "type": kind, "since": since})
    found = invocation.api.read("audit", limit=limit, **given)["audit"]
    print_records(found, _AUDIT_FIELDS, invocation.form, "command-id")


_RELEASE_FIELDS: Final = (
    ShownField(key="release", title="release"),
    ShownField(key="has-feed", title="packages"),
    ShownField(key="workers", title="seen by"),
)


@client_command
def releases(invocation: Invocation) -> None:
    """List the releases that the controller has, newest first, and which workers see them."""
    found = invocation.api.read("releases")["releases"]
    if not found:
        say("No living worker sees a release. Look: prestager workers")
    print_found(found, _RELEASE_FIELDS, invocation.form, "release")


_VERSION_FIELDS: Final = (
    ShownField(key="client", title="prestager"),
    ShownField(key="service", title="service", text=", ".join),
    ShownField(key="url", title="at"),
)


@client_command
def show_version(invocation: Invocation) -> None:
    """Show the version of this command, and those of the service's processes where it answers.

    `prestager --version` asks no service.
    """
    found: dict[str, Any] = {"client": program_version(), "service": None, "url": invocation.api.url}
    try:
        workers = invocation.api.read("workers")["workers"]
        found["service"] = sorted({one["version"] for one in workers if one["alive"]})
    except ClientError as error:
        say(f"The service's version is not known. {error}")
    print_record(found, _VERSION_FIELDS, invocation.form, "client")


# The service sends a line after a minute without output, in seconds.
_LOG_SILENCE_S: Final = 100.0


def print_log(api: ApiClient, *path: str, phase: str | None = None, follow: bool) -> None:
    """Print the output of playbooks as it comes; followed, it ends with the run, the phase or the step.

    Signs that a terminal would obey are replaced.

    Args:
        api: The API.

        path: Parts of the path of the output, below the version.

        phase: The only phase of a step; None: all of them.

        follow: Whether to go on with what is printed from now on.

    Raises:
        RefusedError: There is no such step or run, or no output of it.
        UnreachableError: The API did not answer, or the answer broke off.
    """
    query = {**({} if phase is None else {"phase": phase}), **({"follow": "1"} if follow else {})}
    with api.listen(*path, headers={"Accept": "text/plain"}, silence_s=_LOG_SILENCE_S, **query) as lines:
        for line in lines:
            typer.echo(printable(line.decode(errors="replace").rstrip("\r\n").expandtabs()))
            sys.stdout.flush()
