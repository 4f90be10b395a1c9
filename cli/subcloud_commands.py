"""`prestager subcloud`: SSH host keys of sites.

Only operators on this machine change host keys: no request over HTTP or AMQP does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from sqlalchemy import Connection, RowMapping, Table, select

from cli.installation import checked_database, shell_caller
from db.audit import record_shell_action
from db.host_keys import forget_host_keys, give_host_keys
from db.inventory import find_group, find_subcloud
from db.schema import subcloud_groups, subclouds
from db.unit_of_work import UnitOfWork, unit_of_work
from messages.commands import ShellAction
from messages.errors import HostKeyError
from messages.host_keys import HostKey, parse_host_keys, stored_host_keys
from messages.serializers import subcloud_resource
from service.errors import CommandError
from service.load_settings import did_you_mean

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the subcloud.")]

# Longer is a file that was given by mistake, in characters.
_LONGEST: Final = 65_536


def known_site(connection: Connection, ref: str) -> dict[str, Any]:
    """Return a subcloud as the API's `…/detail` has it, as far as the database knows, with its host keys.

    Raises:
        CommandError: There is none.
    """
    row = _found(connection, ref)
    keys = stored_host_keys(row["host_keys"])
    recorded: dict[str, Any] = {
        "host_keys_origin": row["host_keys_origin"],
        "host_keys_recorded_at": f"{row['host_keys_at']:%F %T} UTC" if row["host_keys_at"] else None,
        "host_keys_software_version": row["host_keys_version"] or "unknown",
    }
    return {
        **subcloud_resource(row),
        "host_keys": [key.description for key in keys],
        **(recorded if keys else {}),
    }


def set_host_key(
    ref: Name,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Public host keys of the site, one a line: its /etc/ssh/ssh_host_*_key.pub, lines of known_hosts, or"
            " what ssh-keyscan printed on a network that you trust. Without a file, standard input."
        ),
    ] = None,
) -> None:
    """Record the SSH host keys of a site in place of those that it has; its next prestage must find one of them."""
    keys = _read_keys(file)
    with checked_database() as database, unit_of_work(database, as_coordinator=True) as work:
        row = _found(work.connection, ref)
        is_new = give_host_keys(work, row, keys)
        _finish(work, ShellAction.SET_HOST_KEY, [row["name"]] if is_new else [])
    state = "recorded" if is_new else "recorded already"
    typer.echo("\n".join(f"{row['name']}: {key.description} is {state}." for key in keys))


def forget_host_key(
    ref: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name or id of the subcloud.")] = None,
    group: Annotated[str | None, typer.Option(help="All subclouds of this group (name or id).")] = None,
) -> None:
    """Forget the SSH host keys of sites, as after a reinstallation: the next prestage of each is a first contact.

    With PRESTAGER_HOST_KEYS=strict nothing is sent to them until new keys are given.
    """
    if (ref is None) == (group is None):
        raise CommandError("Give the name of a subcloud, or --group with that of a group.")
    with checked_database() as database, unit_of_work(database, as_coordinator=True) as work:
        rows = [_found(work.connection, ref)] if ref is not None else _of_group(work.connection, group or "")
        forgotten = [row["name"] for row in rows if forget_host_keys(work, row)]
        _finish(work, ShellAction.FORGET_HOST_KEY, forgotten)
    if ref is not None:
        words = "is forgotten" if forgotten else "was not recorded"
        typer.echo(f"The SSH host key of {rows[0]['name']} {words}.")
    else:
        typer.echo(f"The SSH host keys of {len(forgotten)} of {len(rows)} subclouds are forgotten.")


def _finish(work: UnitOfWork, action: ShellAction, names: Sequence[str]) -> None:
    record_shell_action(work.connection, action, names, caller=shell_caller(), at=work.at)


def _found(connection: Connection, ref: str) -> RowMapping:
    row = find_subcloud(connection, ref)
    if row is None:
        near = _did_you_mean(connection, ref, subclouds)
        raise CommandError(f"There is no subcloud '{ref}'{near} List them: GET /v1.0/subclouds")
    return row


def _did_you_mean(connection: Connection, ref: str, table: Table) -> str:
    return did_you_mean(ref, connection.execute(select(table.c.name)).scalars().all())


def _of_group(connection: Connection, ref: str) -> Sequence[RowMapping]:
    group = find_group(connection, ref)
    if group is None:
        near = _did_you_mean(connection, ref, subcloud_groups)
        raise CommandError(f"There is no group '{ref}'{near} List them: GET /v1.0/subcloud-groups")
    query = select(subclouds).where(subclouds.c.group_id == group["id"]).order_by(subclouds.c.id)
    return connection.execute(query).mappings().all()


def _read_keys(file: Path | None) -> tuple[HostKey, ...]:
    source = "standard input" if file is None else str(file)
    try:
        text = sys.stdin.read(_LONGEST) if file is None else file.read_text(encoding="utf-8")[:_LONGEST]
        return parse_host_keys(text)
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{source} is not a text in UTF-8.") from error
    except HostKeyError as error:
        raise CommandError(f"{source} holds no usable host keys: {error}. Nothing was changed.") from error
