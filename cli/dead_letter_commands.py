"""`prestager dead-letters`: messages that could not be handled, per queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from broker.amqp.dead_letters import DeadLetter, DeadLetterAdmin, open_dead_letters
from broker.amqp.errors import DeadLetterAdminError, PublishError
from broker.amqp.publisher import Publisher
from broker.amqp.topology import WORK_QUEUES, dead_letters_of
from client.client_command import Yes
from client.output import (
    Output,
    OutputFormat,
    ShownField,
    print_found,
    print_record,
    print_records,
    printable,
    say,
)
from client.prompts import confirm
from messages.secret_names import mask_fields, mask_values
from service.errors import CommandError
from service.load_settings import read_settings

_PREFIX: Final = "prestager."
_SHOWN: Final = 80

Queue = Annotated[str, typer.Argument(help="Queue, such as commands or prestager.commands.")]
LetterId = Annotated[str, typer.Argument(help="Id of the letter, as `list` shows it.")]
_MASK: Final = "********"
_LONGEST: Final = 16_384
_UNITS: Final = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))


def _reason_text(reason: str) -> str:
    return reason if len(reason) <= _SHOWN else f"{reason[: _SHOWN - 1]}…"


def _age_text(since: str) -> str:
    """Return how long ago a moment is, in its greatest unit, such as 3 h."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()))
    name, unit = next(((name, unit) for name, unit in _UNITS if seconds >= unit), _UNITS[-1])
    return f"{seconds // unit} {name}"


_QUEUE: Final = ShownField(key="queue", title="queue")
_TOTALS: Final = (_QUEUE, ShownField(key="dead-letters", title="dead letters"))
_FIELDS: Final = (
    _QUEUE,
    ShownField(key="id", title="id"),
    ShownField(key="type", title="type", is_spare=True),
    ShownField(key="since", title="age", is_spare=True, text=_age_text),
    ShownField(key="bytes", title="bytes", is_spare=True),
    ShownField(key="reason", title="reason", text=_reason_text),
)
_SHOWN_FIELDS: Final = (
    _QUEUE,
    *(ShownField(key=key, title=key) for key in ("id", "type", "reason", "since")),
    ShownField(key="content-type", title="content type"),
    *(ShownField(key=key, title=key) for key in ("sender", "user", "bytes")),
)
_BODY: Final = ShownField(key="body", title="body")


def list_letters(
    queue: Annotated[str | None, typer.Argument(help="Only this queue, such as commands.")] = None,
    limit: Annotated[int, typer.Option(min=0, max=1000, help="Letters shown of each queue, the oldest first.")] = 10,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the dead letters: how many each queue has, and why the oldest are there.

    The numbers are in a table of their own before the letters, or in sentences where programs read the list.
    """
    wanted = None if queue is None else _queue_of(queue)
    with _dead_letters() as dead_letters:
        counts = {name: count for name, count in dead_letters.counts().items() if wanted in (None, name)}
        found = {name: dead_letters.first(name, limit) for name, count in counts.items() if count is not None}
    letters = [_record(letter) for some in found.values() for letter in some]
    totals = [{"queue": name, "dead-letters": _count_text(counts[name], found.get(name))} for name in counts]
    if output in {OutputFormat.TABLE, OutputFormat.WIDE}:
        print_records(totals, _TOTALS, output, "queue")
        if letters:
            typer.echo()
    else:
        for total in totals:
            say(f"{total['queue']}: {total['dead-letters']}")
    print_found(letters, _FIELDS, output, "id")


def show(queue: Queue, letter_id: LetterId, output: Output = OutputFormat.TABLE) -> None:
    """Print one dead letter; secrets in it are hidden."""
    name = _queue_of(queue)
    with _dead_letters() as dead_letters:
        letter = dead_letters.find(name, letter_id)
    if letter is None:
        raise _missing(name, letter_id)
    properties = letter.properties
    record = _record(letter) | {
        "content-type": properties.content_type,
        "sender": properties.app_id,
        "user": properties.user_id,
    }
    body = shown_body(letter.body)
    if output not in {OutputFormat.TABLE, OutputFormat.WIDE}:
        print_record(record | {"body": body}, [*_SHOWN_FIELDS, _BODY], output, "id")
        return
    print_record(record, _SHOWN_FIELDS, output, "id")
    typer.echo()
    typer.echo(body)


def replay(queue: Queue, letter_id: LetterId) -> None:
    """Put one dead letter back into its queue; correct first what made it one, or it comes back.

    A command that ran after all is known by its id and only answered again.
    """
    name = _queue_of(queue)
    with _dead_letters() as dead_letters, _publisher() as publisher:
        try:
            letter = dead_letters.replay(name, letter_id, publisher)
        except PublishError as error:
            raise CommandError(f"The letter is still in {dead_letters_of(name)}: {error}. Try again.") from error
    if letter is None:
        raise _missing(name, letter_id)
    typer.echo(f"{printable(letter.id)} is in {name} again.")


def purge(
    queue: Queue,
    yes: Yes = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Throw away all dead letters of one queue, for good."""
    name = _queue_of(queue)
    with _dead_letters() as dead_letters:
        count = dead_letters.counts()[name]
        if count is None:
            raise CommandError(f"The broker has no {dead_letters_of(name)}; a coordinator or worker makes it.")
        confirm(f"Throw away {count} dead letters of {name}?", is_given=yes)
        typer.echo(f"{dead_letters.purge(name)} dead letters of {name} are gone.")


@contextmanager
def _dead_letters() -> Iterator[DeadLetterAdmin]:
    try:
        with open_dead_letters(_broker_url()) as dead_letters:
            yield dead_letters
    except DeadLetterAdminError as error:
        raise CommandError(
            f"The broker does not let the dead letters be handled: {error}. A queue that is missing is made by the"
            " next start of a coordinator or worker; rights are given by: rabbitmqctl set_permissions"
        ) from error


@contextmanager
def _publisher() -> Iterator[Publisher]:
    publisher = Publisher(_broker_url(), "prestager dead-letters publisher")
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop()


def _broker_url() -> str:
    url = read_settings().broker_url
    if url is None:
        raise CommandError(
            "There are no dead letters without a broker: PRESTAGER_BROKER_URL is not set, and in one process nothing"
            " is turned away."
        )
    return url.get_secret_value()


def _queue_of(given: str) -> str:
    """Return the queue's full name; its dead letters' name is taken as well."""
    names = [queue.name for queue in WORK_QUEUES]
    name = given.removesuffix(".XQ")
    name = name if name.startswith(_PREFIX) else _PREFIX + name
    if name not in names:
        raise CommandError(f"There is no queue {printable(given)}; name one of: {', '.join(names)}.")
    return name


def _missing(queue: str, letter_id: str) -> CommandError:
    return CommandError(
        f"{dead_letters_of(queue)} has no letter {printable(letter_id)}; see: prestager dead-letters list {queue}"
    )


def _count_text(count: int | None, found: list[DeadLetter] | None) -> str:
    # The broker's count lags a little behind what is there.
    return "not made yet" if count is None else str(max(count, len(found or ())))


def _record(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter without its body; `since` is a moment in UTC with its zone."""
    return {
        "queue": letter.queue,
        "id": letter.id,
        "type": letter.type,
        "since": letter.died_at and letter.died_at.isoformat(sep=" ", timespec="seconds"),
        "bytes": len(letter.body),
        "reason": letter.reason,
    }


def shown_body(body: bytes) -> str:
    """Return a body for reading: JSON is indented, values that may be secret are hidden, and much is cut."""
    text = body.decode("utf-8", errors="replace")
    try:
        shown = json.dumps(mask_values(json.loads(text), _MASK), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        shown = mask_fields(text, _MASK)
    lines = "\n".join(map(printable, shown.splitlines()))
    if len(lines) > _LONGEST:
        return f"{lines[:_LONGEST]}\n… and {len(lines) - _LONGEST} characters more"
    return lines
