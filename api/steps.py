"""/v1.0/sw-update-strategy/steps: where each subcloud stands, and what its playbooks printed (contract 3.2)."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from sqlalchemy import Connection

from api.context import SERVICES
from api.database_reader import encode, encode_list, json_answer
from api.errors import ApiError
from api.log_stream import follow
from api.path_params import path_ref, step_not_found
from api.stream.tail import header
from api.validation import read_query
from db import read_queries as listing
from db.run_output import PhaseOutput, outputs
from messages.requests.queries import LogQuery, StepLogQuery
from messages.serializers import step_resource


async def show_all(request: web.Request) -> web.Response:
    """Show the steps of the active strategy; an empty list without one."""

    def read(connection: Connection) -> bytes:
        return encode_list("strategy-steps", map(step_resource, listing.active_steps(connection)))

    return json_answer(await request.app[SERVICES].reads.run(read))


async def show(request: web.Request) -> web.Response:
    """Show the step of one subcloud, by name only."""
    name = path_ref(request, step_not_found())

    def read(connection: Connection) -> bytes:
        row = listing.active_step(connection, name)
        if row is None:
            raise step_not_found()
        return encode(step_resource(row))

    return json_answer(await request.app[SERVICES].reads.run(read))


async def show_log(request: web.Request) -> web.StreamResponse:
    """Show what the newest run of one phase printed so far, or of all phases one after the other.

    With `follow` it goes on with what is printed from now on. Serves the step that started last, of any strategy or
    standalone, and for a phase the last that has it: details of past steps point here too.
    """
    name = path_ref(request, step_not_found())
    phase = read_query(LogQuery, request, HTTPStatus.NOT_FOUND).phase

    if read_query(StepLogQuery, request).follow:
        return await follow(request, name, phase)

    def read(connection: Connection) -> bytes:
        step = listing.latest_step(connection, name, phase)
        if step is None:
            raise step_not_found()
        return _render(outputs(connection, step, phase), name, phase)

    text = await request.app[SERVICES].reads.run(read)
    return web.Response(body=text, content_type="text/plain", charset="utf-8")


def _render(found: list[PhaseOutput], name: str, phase: str | None) -> bytes:
    if not found:
        what = f"phase '{phase}'" if phase else "any phase"
        raise ApiError(HTTPStatus.NOT_FOUND, f"There is no output of {what} for subcloud {name} yet")
    return found[0].content if phase else b"".join(map(_with_header, found))


def _with_header(output: PhaseOutput) -> bytes:
    end = b"" if output.content.endswith(b"\n") else b"\n"
    return header(output.run) + output.content + end
