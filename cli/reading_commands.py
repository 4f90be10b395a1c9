"""`prestager workers` and `subcloud show`: the same answer from an API and from the database of this machine.

The API is asked where an option, a variable or a context names one (`client.contexts.names_an_api`). Otherwise the
database is, so that both work on the controller before the service starts and while it is away.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from client.client_command import Reads, either_command
from client.output import OutputFormat, ShownField, print_record
from client.service_commands import print_processes


class _InstallationReads:
    """Reads of the installation of this machine, in the form of the API's answers."""

    def __init__(self, database: Any) -> None:
        self._database = database

    def read(self, *path: str, **_: str | int) -> Any:
        """Return the processes, or of a path to a subcloud that subcloud: what the commands below ask for."""
        # Not before: a command over HTTP needs none of them.
        from cli.subcloud_commands import known_site  # noqa: PLC0415
        from db.heartbeats import all_processes  # noqa: PLC0415
        from messages.process_serializers import worker_resource  # noqa: PLC0415

        with self._database.read() as connection:
            if path == ("workers",):
                return {"workers": [worker_resource(row) for row in all_processes(connection)]}
            return known_site(connection, path[1])


@contextmanager
def _installation() -> Iterator[Reads]:
    from cli.installation import checked_database  # noqa: PLC0415

    with checked_database() as database:
        yield _InstallationReads(database)


@either_command(_installation)
def workers(reads: Reads, form: OutputFormat) -> None:
    """Show every process of the installation as it reported itself last; reports come every 10 s.

    A process that stopped in order is not shown; one that died is `lost` and is forgotten after a day. An API is asked
    where one is named, by option, variable or context; otherwise the database of this machine.
    """
    print_processes(reads, form)


# Keys whose order and titles are not those of the answer.
_LAST: Final = ("host_keys", "host_keys_origin", "host_keys_recorded_at", "host_keys_software_version")


@either_command(_installation)
def show_subcloud(
    reads: Reads,
    form: OutputFormat,
    ref: Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the subcloud.")],
) -> None:
    """Show a subcloud, with the fingerprints of its recorded SSH host keys.

    An API is asked where one is named, by option, variable or context; otherwise the database of this machine.
    """
    found = reads.read("subclouds", ref, "detail")
    keys = [*(key for key in found if key not in _LAST), *(key for key in _LAST if key in found)]
    print_record(found, [_field(key) for key in keys], form, "name")


def _field(key: str) -> ShownField:
    text = (lambda keys: ", ".join(keys) or "none recorded") if key == "host_keys" else None
    return ShownField(key=key, title=key.replace("_", "-") if key in _LAST else key, text=text)
