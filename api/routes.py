"""Every path with its handler and the roles that may call it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from api import docs_routes, events, groups, health, history, step_log, strategies, subclouds, webhooks
from api.auth import (
    ADMIN,
    CHANGE,
    MANAGE,
    READ,
    Caller,
    require_role,
)
from api.context import CALLER
from api.errors import RETRY_AFTER, ApiError, AuthenticationError, AuthenticatorUnavailableError
from api.page_sessions import PAGE_HEADER, identify
from api.validation import read_query, refuse_parameters, strategy_not_found
from db.tokens import Role
from messages.requests.base import Request
from messages.requests.queries import (
    AuditQuery,
    EventsQuery,
    FollowQuery,
    PageQuery,
    PastStepsQuery,
    StandaloneQuery,
    StepLogQuery,
    TypeQuery,
)
from messages.requests.webhook import DeliveryQuery

_VERSION = "/v1.0"

_STRATEGY = f"{_VERSION}/sw-update-strategy"
_SUBCLOUDS = f"{_VERSION}/subclouds"
_GROUPS = f"{_VERSION}/subcloud-groups"
_HISTORY = f"{_VERSION}/strategies"
_WEBHOOKS = f"{_VERSION}/webhooks"

# Below the version, each with and without a slash at the end. Their descriptions are in `apidocs.openapi`.
GUARDED: Final[tuple[tuple[str, str, Handler, frozenset[Role]], ...]] = (
    (hdrs.METH_GET, _STRATEGY, strategies.show, READ),
    (hdrs.METH_POST, _STRATEGY, strategies.create, CHANGE),
    (hdrs.METH_POST, f"{_STRATEGY}/preview", strategies.preview, READ),
    (hdrs.METH_PATCH, _STRATEGY, strategies.update, CHANGE),
    (hdrs.METH_DELETE, _STRATEGY, strategies.delete, CHANGE),
    # Operators may pause; the handler asks more for the other actions.
    (hdrs.METH_POST, f"{_STRATEGY}/actions", strategies.act, MANAGE),
    (hdrs.METH_GET, f"{_STRATEGY}/problems", strategies.show_problems, READ),
    (hdrs.METH_GET, f"{_STRATEGY}/steps", strategies.show_steps, READ),
    (hdrs.METH_GET, f"{_STRATEGY}/steps/{{ref}}", strategies.show_step, READ),
    # Operators may hold a site; the handler asks more for putting it first.
    (hdrs.METH_PATCH, f"{_STRATEGY}/steps/{{ref}}", strategies.update_step, MANAGE),
    (hdrs.METH_POST, f"{_STRATEGY}/steps/{{ref}}/cancel", strategies.cancel_step, CHANGE),
    (hdrs.METH_POST, f"{_STRATEGY}/steps/{{ref}}/retry", strategies.retry_step, CHANGE),
    (hdrs.METH_GET, f"{_STRATEGY}/steps/{{ref}}/explain", strategies.explain_step, READ),
    (hdrs.METH_GET, f"{_STRATEGY}/steps/{{ref}}/log", step_log.show_log, READ),
    (hdrs.METH_GET, _SUBCLOUDS, subclouds.show_all, READ),
    (hdrs.METH_POST, _SUBCLOUDS, subclouds.add, CHANGE),
    (hdrs.METH_GET, f"{_SUBCLOUDS}/{{ref}}", subclouds.show, READ),
    (hdrs.METH_PATCH, f"{_SUBCLOUDS}/{{ref}}", subclouds.change, MANAGE),
    (hdrs.METH_DELETE, f"{_SUBCLOUDS}/{{ref}}", subclouds.delete, CHANGE),
    (hdrs.METH_GET, f"{_SUBCLOUDS}/{{ref}}/detail", subclouds.show_detail, READ),
    (hdrs.METH_PATCH, f"{_SUBCLOUDS}/{{ref}}/prestage", subclouds.prestage, CHANGE),
    (hdrs.METH_POST, f"{_SUBCLOUDS}/{{ref}}/staged", subclouds.forget_staged, CHANGE),
    (hdrs.METH_POST, f"{_SUBCLOUDS}/{{ref}}/unstage", subclouds.unstage, CHANGE),
    (hdrs.METH_GET, f"{_VERSION}/events", events.stream, READ),
    (hdrs.METH_GET, _HISTORY, history.show_strategies, READ),
    (hdrs.METH_GET, f"{_HISTORY}/{{ref}}", history.show_strategy, READ),
    (hdrs.METH_GET, f"{_HISTORY}/{{ref}}/problems", history.show_problems, READ),
    (hdrs.METH_GET, f"{_HISTORY}/{{ref}}/series", history.show_series, READ),
    (hdrs.METH_GET, f"{_HISTORY}/{{ref}}/steps", history.show_steps, READ),
    (hdrs.METH_POST, f"{_HISTORY}/{{ref}}/retry", history.retry, CHANGE),
    (hdrs.METH_GET, f"{_VERSION}/prestages", history.show_standalone, READ),
    (hdrs.METH_GET, f"{_VERSION}/audit", history.show_audit, ADMIN),
    (hdrs.METH_GET, f"{_VERSION}/steps/{{ref}}/runs", step_log.show_runs, READ),
    (hdrs.METH_GET, f"{_VERSION}/runs/{{ref}}/log", step_log.show_run_log, READ),
    (hdrs.METH_GET, f"{_VERSION}/workers", health.show_workers, READ),
    (hdrs.METH_POST, f"{_VERSION}/workers/{{ref}}/drain", health.drain_worker, CHANGE),
    (hdrs.METH_POST, f"{_VERSION}/workers/{{ref}}/undrain", health.undrain_worker, CHANGE),
    (hdrs.METH_GET, f"{_VERSION}/health", health.show_health, READ),
    (hdrs.METH_GET, f"{_VERSION}/releases", health.show_releases, READ),
    (hdrs.METH_GET, f"{_VERSION}/whoami", health.show_caller, READ),
    (hdrs.METH_GET, _GROUPS, groups.show_all, READ),
    (hdrs.METH_POST, _GROUPS, groups.create, CHANGE),
    (hdrs.METH_GET, f"{_GROUPS}/{{ref}}", groups.show, READ),
    (hdrs.METH_PATCH, f"{_GROUPS}/{{ref}}", groups.change, CHANGE),
    (hdrs.METH_DELETE, f"{_GROUPS}/{{ref}}", groups.delete, CHANGE),
    (hdrs.METH_GET, f"{_GROUPS}/{{ref}}/subclouds", groups.show_subclouds, READ),
    # Reading needs the roles of a change: a URL may hold a token.
    (hdrs.METH_GET, _WEBHOOKS, webhooks.show_all, CHANGE),
    (hdrs.METH_POST, _WEBHOOKS, webhooks.create, CHANGE),
    (hdrs.METH_GET, f"{_WEBHOOKS}/{{ref}}", webhooks.show, CHANGE),
    (hdrs.METH_PATCH, f"{_WEBHOOKS}/{{ref}}", webhooks.change, CHANGE),
    (hdrs.METH_DELETE, f"{_WEBHOOKS}/{{ref}}", webhooks.delete, CHANGE),
    (hdrs.METH_POST, f"{_WEBHOOKS}/{{ref}}/ping", webhooks.ping, CHANGE),
    (hdrs.METH_GET, f"{_WEBHOOKS}/{{ref}}/deliveries", webhooks.show_deliveries, CHANGE),
    (hdrs.METH_GET, f"{_WEBHOOKS}/{{ref}}/deliveries/{{id}}", webhooks.show_delivery, CHANGE),
    (hdrs.METH_POST, f"{_WEBHOOKS}/{{ref}}/deliveries/{{id}}/redeliver", webhooks.redeliver, CHANGE),
)


# Beginnings of paths that dcmanager's API does not have: unknown parameters are refused there.
_OWN: Final = (
    f"{_STRATEGY}/preview",
    f"{_STRATEGY}/problems",
    f"{_STRATEGY}/steps/{{ref}}/cancel",
    f"{_STRATEGY}/steps/{{ref}}/explain",
    f"{_STRATEGY}/steps/{{ref}}/log",
    f"{_STRATEGY}/steps/{{ref}}/retry",
    f"{_SUBCLOUDS}/{{ref}}/staged",
    f"{_SUBCLOUDS}/{{ref}}/unstage",
    f"{_VERSION}/runs",
    f"{_VERSION}/steps",
    f"{_VERSION}/events",
    f"{_VERSION}/prestages",
    f"{_VERSION}/audit",
    f"{_VERSION}/workers",
    f"{_VERSION}/health",
    f"{_VERSION}/releases",
    f"{_VERSION}/whoami",
    _HISTORY,
    _WEBHOOKS,
)
# Models of the parameters of these routes.
_QUERIES: Final[Mapping[Handler, type[Request]]] = {
    step_log.show_log: StepLogQuery,
    step_log.show_run_log: FollowQuery,
    step_log.show_runs: PageQuery,
    events.stream: EventsQuery,
    strategies.preview: TypeQuery,
    strategies.show_problems: TypeQuery,
    strategies.cancel_step: TypeQuery,
    strategies.retry_step: TypeQuery,
    strategies.explain_step: TypeQuery,
    history.show_strategies: PageQuery,
    history.show_steps: PastStepsQuery,
    history.show_standalone: StandaloneQuery,
    history.show_audit: AuditQuery,
    webhooks.show_deliveries: DeliveryQuery,
}

# Without a token.
PUBLIC: Final[tuple[tuple[str, Handler], ...]] = (
    ("/", health.show_versions),
    ("/livez", health.show_alive),
    ("/readyz", health.show_ready),
    ("/startupz", health.show_started),
    ("/openapi.json", docs_routes.show_document),
    ("/docs", docs_routes.show_html),
)


def own_query(path: str, handler: Handler) -> type[Request] | None:
    """Return the model of a route's parameters; None for a route of dcmanager's API, which ignores unknown ones."""
    return _QUERIES.get(handler, Request) if path.startswith(_OWN) else None


def add_routes(router: web.UrlDispatcher) -> None:
    """Add every path, those below the version with and without a slash at the end."""
    for path, handler in PUBLIC:
        # HEAD of the root is refused as upstream does.
        router.add_get(path, handler, allow_head=path != "/")
    for method, path, handler, allowed in GUARDED:
        guarded = guard(handler, allowed, own_query(path, handler))
        router.add_route(method, path, guarded)
        router.add_route(method, f"{path}/", guarded)


def guard(handler: Handler, allowed: frozenset[Role], query: type[Request] | None = None) -> Handler:
    """Return a handler that checks token, role and parameters before `handler` runs.

    Args:
        handler: Handler of the route.

        allowed: Roles, one of which the caller must hold.

        query: Model of the parameters; others are refused. None: any parameter may be sent.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        caller = await _authenticate(request)
        request[CALLER] = caller
        require_role(caller, allowed)
        if query is not None:
            refuse_parameters(request, query)
            _refuse_other_type(request, query)
        response = await handler(request)
        if PAGE_HEADER in request.headers and not response.prepared:
            # A browser asks: who uses it after a logout finds nothing in its cache.
            response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        return response

    return guarded


def _refuse_other_type(request: web.Request, query: type[Request]) -> None:
    """Refuse what is asked of the strategy of another service: behind one address it may have come here by mistake."""
    if issubclass(query, TypeQuery):
        asked = read_query(TypeQuery, request)
        if asked.means_another:
            raise strategy_not_found(asked.type)


async def _authenticate(request: web.Request) -> Caller:
    try:
        return await identify(request)
    except AuthenticationError as error:
        raise ApiError(HTTPStatus.UNAUTHORIZED, str(error)) from None
    except AuthenticatorUnavailableError:
        detail = "The identity service is not available."
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, RETRY_AFTER) from None
