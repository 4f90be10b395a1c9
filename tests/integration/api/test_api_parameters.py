"""Parameters of queries that are not known: refused on our own routes, ignored on the contract's."""

from __future__ import annotations

from typing import Any

import pytest

from api.routes import GUARDED, own_query
from apidocs.openapi.assembly import OPERATIONS
from messages.requests.queries import TypeQuery
from tests.support.served_api import ServedApi

CONTRACT = ("/v1.0/subclouds", "/v1.0/subcloud-groups", "/v1.0/sw-update-strategy/steps")


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1.0/events?strategi=1", "strategi; did you mean strategy?"),
        ("/v1.0/strategies?limits=1", "limits; did you mean limit?"),
        ("/v1.0/strategies/1?x=", "x; GET /docs shows the parameters that there are"),
        ("/v1.0/strategies/1/steps?market=1", "market; did you mean marker?"),
        ("/v1.0/audit?Caller=alice", "Caller; did you mean caller?"),
        ("/v1.0/whoami?x=1", "x; GET /docs shows the parameters that there are"),
        ("/v1.0/workers/?x=1", "x; GET /docs shows the parameters that there are"),
        ("/v1.0/webhooks?limit=1", "limit; GET /docs shows the parameters that there are"),
        ("/v1.0/webhooks/a/deliveries?stat=failed", "stat; did you mean state?"),
        ("/v1.0/sw-update-strategy/steps/a/log?phases=x", "phases; did you mean phase?"),
    ],
)
async def test_unknown_parameters_of_ours(api: ServedApi, path: str, told: str) -> None:
    """A parameter that a route of our own does not take is refused with the nearest that it does."""
    reply = await api.send("GET", path)

    assert (reply.status, reply.detail) == (400, f"Unknown parameter: {told}")


@pytest.mark.parametrize("path", CONTRACT)
async def test_unknown_parameters_of_the_contract(api: ServedApi, path: str) -> None:
    """Where dcmanager's API has a route too, its clients' parameters are ignored."""
    assert (await api.send("GET", f"{path}?anything=1&limits=x")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "preview", {"type": "prestage"}),
        ("GET", "problems", b""),
        ("GET", "steps/a/explain", b""),
        ("GET", "steps/a/log", b""),
        ("POST", "steps/a/cancel", {}),
        ("POST", "steps/a/retry", {}),
    ],
)
async def test_a_strategy_of_another_service(api: ServedApi, method: str, path: str, body: Any) -> None:
    """The type of a strategy is taken below it everywhere; one of dcmanager's is not ours, and nothing is done."""
    other = await api.send(method, f"/v1.0/sw-update-strategy/{path}?type=patch", body)
    assert (404, True) == (other.status, "Strategy of type 'patch' not found" in other.detail)
    assert [] == api.transport.commands

    ours = await api.send(method, f"/v1.0/sw-update-strategy/{path}?type=prestage", body)
    assert "Unknown parameter" not in ours.text


def test_the_type_is_taken_below_the_strategy() -> None:
    """Each route of our own below the strategy knows the type, so that all of ours can be asked with it."""
    below = [
        own_query(path, handler) for _, path, handler, _ in GUARDED if path.startswith("/v1.0/sw-update-strategy/")
    ]

    assert [] == [query for query in below if query is not None and not issubclass(query, TypeQuery)]


async def test_a_caller_comes_before_parameters(api: ServedApi) -> None:
    """Nothing is told of parameters before the caller is known."""
    assert (await api.send("GET", "/v1.0/audit?x=1", role=None)).status == 401


def test_parameters_are_those_of_the_documents() -> None:
    """What a route of our own takes is what the documents say; each is ours or dcmanager's."""
    own = [(own_query(path, handler), OPERATIONS[handler].query) for _method, path, handler, _roles in GUARDED]

    assert all(
        (documented is None and not taken.model_fields) or taken is documented for taken, documented in own if taken
    )
    assert 34 == sum(taken is not None for taken, _documented in own)
