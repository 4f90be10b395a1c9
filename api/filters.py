"""Filters and pages of lists of steps and subclouds, from the parameters of a request."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web
from sqlalchemy import Connection

from api.errors import ApiError
from api.responses import encode, encode_list, encode_page
from db.errors import ProblemNotFoundError
from db.filters import RowFilter, listed_steps, listed_subclouds
from db.inventory import find_group
from db.problems import find_problem
from db.read_queries import Row, active_strategy
from messages.requests.base import truncate_for_error
from messages.requests.queries import ListQuery, PastStepsQuery


def read_steps(connection: Connection, strategy_id: int, query: ListQuery | PastStepsQuery) -> list[Row]:
    """Return the steps of a strategy that a query asks for.

    Raises:
        ApiError: 400; there is no such group, or the beginning of a problem's id does not mean one.
    """
    return listed_steps(connection, strategy_id, _row_filter(connection, query, strategy_id))


def read_subclouds(connection: Connection, query: ListQuery) -> list[Row]:
    """Return the subclouds that a query asks for.

    Raises:
        ApiError: 400; there is no such group, or the beginning of a problem's id does not mean one.
    """
    active = active_strategy(connection) if query.problem is not None else None
    return listed_subclouds(connection, _row_filter(connection, query, None if active is None else active["id"]))


def _row_filter(connection: Connection, query: ListQuery | PastStepsQuery, strategy_id: int | None) -> RowFilter:
    group = None
    if query.group is not None:
        group = find_group(connection, query.group)
        if group is None:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"There is no group '{truncate_for_error(query.group)}'")
    problem = query.problem
    if problem is not None and strategy_id is not None:
        try:
            problem = find_problem(connection, strategy_id, problem)
        except ProblemNotFoundError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from None
    return RowFilter(
        states=query.state or (),
        outcomes=query.outcome or (),
        classes=query.failure_class or (),
        run_states=query.run_state or (),
        problem=problem,
        stage=query.stage,
        group_id=None if group is None else group["id"],
        cloud=query.cloud,
        selector=query.selector,
        after=query.marker or 0,
        limit=query.limit,
    )


def encode_listed(
    request: web.Request, key: str, rows: list[Row], resource: Callable[[Row], Any], query: ListQuery
) -> bytes:
    """Return `{key: [resources of the rows]}` as JSON, with `next` where the query has a limit."""
    if query.limit is None:
        return encode_list(key, map(resource, rows))
    items = [encode(resource(row)) for row in rows]
    return encode_page(request, key, items, last=rows[-1]["id"] if rows else None, limit=query.limit)
