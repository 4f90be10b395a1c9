"""/v1.0/subclouds: the inventory, and prestaging of one subcloud (contract 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar, cast

from aiohttp import web
from sqlalchemy import Connection

from api.auth import CHANGE, require_role
from api.context import CALLER, SERVICES
from api.errors import ApiError
from api.filters import encode_listed, read_subclouds
from api.responses import database_response, encode
from api.send_command import send_command
from api.subcloud_body import read_new_subcloud, read_subcloud_change
from api.validation import path_ref, read_known, read_query, subcloud_not_found
from db import read_queries
from db.inventory import find_subcloud, installation_id
from messages.commands import CommandType
from messages.host_keys import stored_host_keys
from messages.inventory_schemas import DetailedSubcloud, ListedSubcloud, SubcloudDetail
from messages.process_info import INSTALLATION_HEADER
from messages.requests.base import unused_fields, unused_note
from messages.requests.queries import ListQuery
from messages.requests.strategy import PrestageBody
from messages.requests.subcloud import NewSubcloud, StagedRequest, SubcloudChange, UnstageBody
from messages.serializers import subcloud_resource

# Fields that an operator, who may only manage and unmanage, may send.
_STATE: Final = "management-state"
_Body = TypeVar("_Body")
_MANAGING: Final = frozenset({_STATE, "force"})


async def show_all(request: web.Request) -> web.Response:
    """Show every subcloud that the filters leave. Nothing is synchronised with sites: the sync status is unknown."""
    query = read_query(ListQuery, request)
    asked_by = request.headers.get(INSTALLATION_HEADER)

    def read(connection: Connection) -> bytes:
        if asked_by is not None and asked_by == installation_id(connection):
            raise ApiError(HTTPStatus.LOOP_DETECTED, "This Prestager asks itself for what dcmanager does.")
        rows = read_subclouds(connection, query)
        return encode_listed(request, "subclouds", rows, _listed, query)

    return await database_response(request, read)


async def show(request: web.Request) -> web.Response:
    """Show one subcloud."""
    return await _show(request, _single)


async def show_detail(request: web.Request) -> web.Response:
    """Show one subcloud with what the client prints for `--detail`."""
    return await _show(request, _detailed)


async def add(request: web.Request) -> web.Response:
    """Ask to add a subcloud. It is deployed already, so its password is not needed and not kept."""
    form = await read_new_subcloud(request)
    note = unused_note(NewSubcloud, form.names)
    return await send_command(request, CommandType.SUBCLOUD_ADD, data=form.fields, note=_line(note))


async def change(request: web.Request) -> web.Response:
    """Change, manage or unmanage a subcloud; an operator may only manage and unmanage."""
    ref = path_ref(request, subcloud_not_found())
    form = await _read_for(request, ref, read_subcloud_change(request))
    if _STATE not in form.names or not _MANAGING.issuperset(form.names):
        require_role(request[CALLER], CHANGE)
    note = unused_note(SubcloudChange, form.names)
    if form.names.issubset(unused_fields(SubcloudChange, form.names)):
        await _require_subcloud(request, ref)
        raise ApiError(HTTPStatus.BAD_REQUEST, f"nothing to update. {note}")
    return await send_command(request, CommandType.SUBCLOUD_UPDATE, subject=ref, data=form.fields, note=_line(note))


async def delete(request: web.Request) -> web.Response:
    """Ask to remove a subcloud."""
    ref = path_ref(request, subcloud_not_found())
    return await send_command(request, CommandType.SUBCLOUD_DELETE, subject=ref)


async def prestage(request: web.Request) -> web.Response:
    """Ask to prestage one subcloud by itself."""
    ref = path_ref(request, subcloud_not_found())
    body = await _read_for(request, ref, read_known(request, PrestageBody, empty_allowed=True))
    return await send_command(request, CommandType.SUBCLOUD_PRESTAGE, subject=ref, data=body)


async def forget_staged(request: web.Request) -> web.Response:
    """Show a release no longer as staged on a subcloud, because that is unknown, after a restore for example."""
    ref = path_ref(request, subcloud_not_found())
    body = await _read_for(request, ref, read_known(request, StagedRequest))
    return await send_command(request, CommandType.SUBCLOUD_STAGED, subject=ref, data=body)


async def unstage(request: web.Request) -> web.Response:
    """Ask to remove a staged release from one subcloud."""
    ref = path_ref(request, subcloud_not_found())
    body = await _read_for(request, ref, read_known(request, UnstageBody))
    return await send_command(request, CommandType.SUBCLOUD_UNSTAGE, subject=ref, data=body)


def _line(note: str | None) -> str | None:
    """Return a note as a line of its own: the client prints it as it is, right before its table."""
    return None if note is None else f"{note}\n"


async def _require_subcloud(request: web.Request, ref: str) -> None:
    if await request.app[SERVICES].reads.run(lambda connection: find_subcloud(connection, ref)) is None:
        raise subcloud_not_found()


async def _read_for(request: web.Request, ref: str, reading: Awaitable[_Body]) -> _Body:
    """Return the body of a request about a subcloud; a missing subcloud is reported before an error in the body."""
    try:
        return await reading
    except ApiError:
        await _require_subcloud(request, ref)
        raise


async def _show(request: web.Request, render: Callable[[read_queries.Row], SubcloudDetail]) -> web.Response:
    ref = path_ref(request, subcloud_not_found())

    def read(connection: Connection) -> bytes:
        row = find_subcloud(connection, ref)
        if row is None:
            raise subcloud_not_found()
        return encode(render(cast("read_queries.Row", row)))

    return await database_response(request, read)


def _listed(row: read_queries.Row) -> ListedSubcloud:
    return {**_single(row), "sync_status": "unknown"}


def _single(row: read_queries.Row) -> SubcloudDetail:
    return {**subcloud_resource(row), "endpoint_sync_status": []}


def _detailed(row: read_queries.Row) -> DetailedSubcloud:
    return {
        **_single(row),
        "oam_floating_ip": row["oam_floating_ip"] or "unavailable",
        "host_keys": [key.description for key in stored_host_keys(row["host_keys"])],
        "deploy_config_sync_status": "unknown",
        "region_name": row["region_name"],
    }
