"""/v1.0/workers: the processes of this installation. Not of dcmanager's API."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import Connection

from api.context import SERVICES
from api.database_reader import encode_list, json_answer
from db.heartbeats import all_processes
from messages.worker_resources import worker_resource


async def show_all(request: web.Request) -> web.Response:
    """Show every process of the installation as it reported itself last; the dead are forgotten after a day."""

    def read(connection: Connection) -> bytes:
        return encode_list("workers", map(worker_resource, all_processes(connection)))

    return json_answer(await request.app[SERVICES].reads.run(read))
