"""/v1.0/subcloud-groups (contract 5)."""

from __future__ import annotations

from typing import cast

from aiohttp import web
from sqlalchemy import Connection

from api.responses import database_response, encode, encode_list
from api.send_command import send_command
from api.validation import group_not_found, path_ref, read_known
from db import read_queries
from db.inventory import find_group
from messages.commands import CommandType
from messages.inventory_schemas import CountedGroup
from messages.requests.group import GroupChange, GroupRequest
from messages.serializers import group_resource, subcloud_resource


async def show_all(request: web.Request) -> web.Response:
    """Show every group, with the number of its subclouds."""

    def read(connection: Connection) -> bytes:
        return encode_list("subcloud_groups", map(_counted, read_queries.all_groups(connection)))

    return await database_response(request, read)


async def show(request: web.Request) -> web.Response:
    """Show one group."""
    ref = path_ref(request, group_not_found())

    def read(connection: Connection) -> bytes:
        return encode(group_resource(_found(connection, ref)))

    return await database_response(request, read)


async def show_subclouds(request: web.Request) -> web.Response:
    """Show the subclouds of one group."""
    ref = path_ref(request, group_not_found())

    def read(connection: Connection) -> bytes:
        members = read_queries.subclouds_of_group(connection, _found(connection, ref)["id"])
        return encode_list("subclouds", map(subcloud_resource, members))

    return await database_response(request, read)


async def create(request: web.Request) -> web.Response:
    """Ask for a new group."""
    return await send_command(request, CommandType.GROUP_CREATE, data=await read_known(request, GroupRequest))


async def change(request: web.Request) -> web.Response:
    """Ask to change a group."""
    ref = path_ref(request, group_not_found())
    return await send_command(
        request, CommandType.GROUP_UPDATE, subject=ref, data=await read_known(request, GroupChange)
    )


async def delete(request: web.Request) -> web.Response:
    """Ask to remove a group."""
    return await send_command(request, CommandType.GROUP_DELETE, subject=path_ref(request, group_not_found()))


def _found(connection: Connection, ref: str) -> read_queries.Row:
    row = find_group(connection, ref)
    if row is None:
        raise group_not_found()
    return cast("read_queries.Row", row)


def _counted(row: read_queries.Row) -> CountedGroup:
    return {**group_resource(row), "subcloud_count": row["subcloud_count"]}
