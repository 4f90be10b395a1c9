"""/v1.0/strategies, /v1.0/prestages, /v1.0/audit: what was done, its retry, and who asked. Not of dcmanager's API."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import Connection

from api.filters import read_steps
from api.responses import database_response, encode, encode_page
from api.send_command import send_command
from api.validation import not_found, path_number, read_known, read_query
from db import audit, read_queries
from db.filters import standalone_steps
from db.forecasts import read_forecasts
from db.holds import open_holds
from db.problems import count_problems
from db.read_queries import Row
from db.strategy_progress import blocking_sites, step_counts, step_progress
from db.time_series import read_series
from messages.commands import CommandType
from messages.process_serializers import audit_resource
from messages.requests.queries import AuditQuery, PageQuery, PastStepsQuery, StandaloneQuery
from messages.requests.strategy_retry import StrategyRetryBody
from messages.schemas import HistoricStrategy
from messages.serializers import past_strategy_resource, progress_resource
from messages.step_serializers import past_step_resource, problem_resource, standalone_step_resource


async def show_strategies(request: web.Request) -> web.Response:
    """Show past and present strategies, newest first, page by page."""
    page = read_query(PageQuery, request)

    def read(connection: Connection) -> bytes:
        rows = read_queries.strategies_page(connection, before=page.marker, limit=page.limit)
        items = [encode(one) for one in _with_counts(connection, rows)]
        return encode_page(request, "strategies", items, last=rows[-1]["id"] if rows else None, limit=page.limit)

    return await database_response(request, read)


async def show_strategy(request: web.Request) -> web.Response:
    """Show one strategy, deleted or not."""

    def read(connection: Connection) -> bytes:
        (found,) = _with_counts(connection, [_strategy(connection, request)])
        return encode(found)

    return await database_response(request, read)


async def show_steps(request: web.Request) -> web.Response:
    """Show the steps of one strategy that the filters leave, in the order of their ids, page by page."""
    page = read_query(PastStepsQuery, request)

    def read(connection: Connection) -> bytes:
        found = _strategy(connection, request)
        rows = read_steps(connection, found["id"], page)
        works = read_queries.works_of_steps(connection, rows)
        items = [encode(past_step_resource(row, works[row["id"]])) for row in rows]
        return encode_page(request, "steps", items, last=rows[-1]["id"] if rows else None, limit=page.limit)

    return await database_response(request, read)


async def show_standalone(request: web.Request) -> web.Response:
    """Show prestages without a strategy and removals, newest first, page by page; `cloud` narrows them."""
    page = read_query(StandaloneQuery, request)

    def read(connection: Connection) -> bytes:
        rows = standalone_steps(connection, cloud=page.cloud, before=page.marker, limit=page.limit)
        works = read_queries.works_of_steps(connection, rows)
        callers = audit.callers_of_standalone(connection, rows)
        items = [encode(standalone_step_resource(row, works[row["id"]], callers.get(row["id"]))) for row in rows]
        return encode_page(request, "prestages", items, last=rows[-1]["id"] if rows else None, limit=page.limit)

    return await database_response(request, read)


async def show_series(request: web.Request) -> web.Response:
    """Show the counts of one strategy's sites over time, its stages and its holds."""
    return await database_response(
        request, lambda connection: encode(read_series(connection, _strategy(connection, request)))
    )


async def show_problems(request: web.Request) -> web.Response:
    """Show why steps of one strategy did not succeed, the most frequent cause first."""
    return await database_response(
        request, lambda connection: encode_problems(connection, _strategy(connection, request)["id"])
    )


def encode_problems(connection: Connection, strategy_id: int) -> bytes:
    """Return the problems of a strategy as JSON."""
    found = count_problems(connection, strategy_id)
    listed = [problem_resource(row, found.sites[row["id"]]) for row in found.listed]
    return encode({"problems": listed, "others": found.others})


async def show_audit(request: web.Request) -> web.Response:
    """Show who asked what, newest first, page by page; `since`, `caller` and `type` narrow it."""
    page = read_query(AuditQuery, request)
    wanted = audit.AuditFilter(since=page.since, caller=page.caller, type=page.type)

    def read(connection: Connection) -> bytes:
        rows = audit.entries(connection, wanted, before=page.marker, limit=page.limit)
        items = [encode(audit_resource(row)) for row in rows]
        return encode_page(request, "audit", items, last=rows[-1]["id"] if rows else None, limit=page.limit)

    return await database_response(request, read)


async def retry(request: web.Request) -> web.Response:
    """Ask for a new strategy for sites of an earlier one."""
    strategy_id = path_number(request, "ref", not_found("Strategy not found"))
    body = await read_known(request, StrategyRetryBody)
    return await send_command(request, CommandType.STRATEGY_RETRY, subject=str(strategy_id), data=body)


def _with_counts(connection: Connection, rows: list[Row]) -> list[HistoricStrategy]:
    ids = [row["id"] for row in rows]
    states, progress = step_counts(connection, ids), step_progress(connection, ids)
    held, retries = open_holds(connection, ids), read_queries.retries_of(connection, ids)
    expected = read_forecasts(connection, rows, held)
    return [
        past_strategy_resource(
            {**row, "retried_by": retries.get(row["id"], [])},
            states.get(row["id"], {}),
            progress_resource(progress[row["id"]], blocking_sites(connection, row), expected[row["id"]], "zoned"),
            progress[row["id"]],
            [hold for hold in held if hold["strategy_id"] == row["id"]],
        )
        for row in rows
    ]


def _strategy(connection: Connection, request: web.Request) -> Row:
    unknown = not_found("Strategy not found")
    found = read_queries.past_strategy(connection, path_number(request, "ref", unknown))
    if found is None:
        raise unknown
    return found
