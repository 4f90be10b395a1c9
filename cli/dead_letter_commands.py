"""`prestager dead-letters`: messages that could not be handled, per queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from broker.amqp.dead_letters import DeadLetter, DeadLetterAdmin, open_dead_letters
from broker.amqp.errors import DeadLetterAdminError, PublishError
from broker.amqp.publisher import Publisher
from broker.amqp.topology import WORK_QUEUES, dead_letters_of
from cli.tables import print_table
from client.output import printable
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


def list_letters(
    queue: Annotated[str | None, typer.Argument(help="Only this queue, such as commands.")] = None,
    limit: Annotated[int, typer.Option(min=0, max=1000, help="Letters shown of each queue, the oldest first.")] = 10,
) -> None:
    """List the dead letters: how many each queue has, and why the oldest are there."""
    wanted = None if queue is None else _queue_of(queue)
    with _dead_letters() as dead_letters:
        counts = {name: count for name, count in dead_letters.counts().items() if wanted in (None, name)}
        found = {name: dead_letters.first(name, limit) for name, count in counts.items() if count is not None}
    print_table(("QUEUE", "DEAD LETTERS"), [(name, _count_text(counts[name], found.get(name))) for name in counts])
    letters = [letter for some in found.values() for letter in some]
    if not letters:
        return
    now = datetime.now(UTC)
    typer.echo()
    print_table(("QUEUE", "ID", "TYPE", "AGE", "BYTES", "REASON"), [_row(letter, now) for letter in letters])


def show(queue: Queue, letter_id: LetterId) -> None:
    """Print one dead letter; secrets in it are hidden."""
    name = _queue_of(queue)
    with _dead_letters() as dead_letters:
        letter = dead_letters.find(name, letter_id)
    if letter is None:
        raise _missing(name, letter_id)
    properties = letter.properties
    facts = {
        "queue": letter.queue,
        "id": letter.id,
        "type": letter.type,
        "reason": letter.reason,
        "since": f"{letter.died_at:%F %T} UTC" if letter.died_at else "",
        "content type": properties.content_type or "",
        "sender": properties.app_id or "",
        "user": properties.user_id or "",
        "bytes": str(len(letter.body)),
    }
    for fact, value in facts.items():
        typer.echo(f"{fact + ':':14}{printable(value)}")
    typer.echo()
    typer.echo(shown_body(letter.body))


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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002 - an option of the shell
) -> None:
    """Throw away all dead letters of one queue, for good."""
    name = _queue_of(queue)
    with _dead_letters() as dead_letters:
        count = dead_letters.counts()[name]
        if count is None:
            raise CommandError(f"The broker has no {dead_letters_of(name)}; a coordinator or worker makes it.")
        if not yes and not typer.confirm(f"Throw away {count} dead letters of {name}?"):
            raise CommandError("Nothing was thrown away.")
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


def _row(letter: DeadLetter, now: datetime) -> tuple[str, ...]:
    reason = printable(letter.reason)
    return (
        letter.queue,
        printable(letter.id),
        printable(letter.type),
        age_text(letter.died_at, now),
        str(len(letter.body)),
        reason if len(reason) <= _SHOWN else reason[: _SHOWN - 1] + "…",
    )


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


def age_text(since: datetime | None, now: datetime) -> str:
    """Return an age in its greatest unit, such as 3 h."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    name, unit = next(((name, unit) for name, unit in _UNITS if seconds >= unit), _UNITS[-1])
    return f"{seconds // unit} {name}"
