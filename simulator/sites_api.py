"""Serves many simulated sites from one event loop, each with sockets, tokens and faults of its own.

    async with serve_sites([SiteSpec(name="edge-1")]) as sites:
        sites["edge-1"].keystone_url  # http://127.0.0.1:40001/v3

One application serves all of them and knows the site by the address that a request came to: a thousand applications
would take a thousand times the memory.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakSet

from aiohttp import web

from simulator import sysinv_api
from simulator.keystone_api import AUTH_TOKEN, Keystone
from simulator.site_spec import EVERYTHING, FaultKind, SiteSpec, faulty_response, sysinv_error, unauthorized

_BACKLOG: Final = 128
# How long answers in progress are waited for at the end, in seconds.
_SHUTDOWN_S: Final = 0.2
# Turns of the loop in which a connection that was dropped lets go of its socket.
_LAST_TURNS: Final = 5

DueDeliveries = Callable[["ServedSite", web.Request], Awaitable[web.StreamResponse]]


class ServedSite:
    """A site that listens; `spec` may be changed at any time."""

    def __init__(self, spec: SiteSpec, runner: web.AppRunner, context: ssl.SSLContext | None) -> None:
        self.spec = spec
        self.keystone = Keystone(spec)
        self._runner = runner
        self._context = context
        self._sockets = [_bound(spec.host, spec.keystone_port)]
        if spec.sysinv_port is not None:
            self._sockets.append(_bound(spec.host, spec.sysinv_port))
        self.addresses: tuple[tuple[str, int], ...] = tuple(one.getsockname()[:2] for one in self._sockets)
        self._listening: list[web.SockSite] = []

    @property
    def keystone_url(self) -> str:
        """Return the base of the site's Keystone, with its version."""
        return f"{self._base(self.addresses[0])}/v3"

    @property
    def sysinv_url(self) -> str:
        """Return the base of the site's sysinv and USM, without a version."""
        return self._base(self.addresses[-1])

    @property
    def dcmanager_url(self) -> str:
        """Return the base of a system controller's dcmanager, with its version."""
        return f"{self.sysinv_url}/v1.0"

    def _base(self, address: tuple[str, int]) -> str:
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"{'https' if self._context else 'http'}://{host}:{address[1]}"

    async def listen(self) -> None:
        """Take connections. Repeating it does nothing."""
        if self._listening:
            return
        for one in self._sockets:
            site = web.SockSite(self._runner, one, ssl_context=self._context, backlog=_BACKLOG)
            await site.start()
            self._listening.append(site)

    async def refuse(self) -> None:
        """Refuse connections and keep the ports; connections that are open stay."""
        for site in self._listening:
            await site.stop()
        self._listening.clear()
        self.close()
        self._sockets = [_bound(*address) for address in self.addresses]

    def close(self) -> None:
        """Give the ports back."""
        for one in self._sockets:
            one.close()


@asynccontextmanager
async def serve_sites(
    specs: Iterable[SiteSpec], *, ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[Mapping[str, ServedSite]]:
    """Serve sites and give them by name; with `ssl_context` over TLS.

    Raises:
        OSError: An address cannot be listened on; nothing is left listening.
    """
    by_address: dict[tuple[str, int], ServedSite] = {}
    connections: WeakSet[asyncio.Transport] = WeakSet()
    # A slow answer whose asker is gone is not worked on to its end.
    runner = web.AppRunner(
        _application(by_address, connections), access_log=None, shutdown_timeout=_SHUTDOWN_S, handler_cancellation=True
    )
    await runner.setup()
    sites: dict[str, ServedSite] = {}
    try:
        for spec in specs:
            site = sites[spec.name] = ServedSite(spec, runner, ssl_context)
            by_address.update(dict.fromkeys(site.addresses, site))
            await site.listen()
        yield sites
    finally:
        await runner.cleanup()
        await _drop(connections)
        for site in sites.values():
            site.close()


async def _drop(connections: WeakSet[asyncio.Transport]) -> None:
    """End connections that wait for the other side's farewell over TLS."""
    for transport in list(connections):
        transport.abort()
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)


def _application(
    sites: Mapping[tuple[str, int], ServedSite], connections: WeakSet[asyncio.Transport]
) -> web.Application:
    def at_site(operation: str, work: DueDeliveries) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            transport = request.transport
            if transport is None:
                raise ConnectionResetError
            connections.add(transport)
            site = sites[transport.get_extra_info("sockname")[:2]]
            site.spec.requests[operation] += 1
            return await _with_faults(site, operation, request) or await work(site, request)

        return handle

    app = web.Application()
    app.router.add_get("/v3", at_site("version", lambda site, request: site.keystone.version(request)))
    tokens = "/v3/auth/tokens"
    app.router.add_post(tokens, at_site("login", lambda site, request: site.keystone.log_in(request)))
    validate = at_site("token", lambda site, request: site.keystone.validate(request))
    app.router.add_get(tokens, validate, allow_head=False)
    app.router.add_delete(tokens, at_site("revoke", lambda site, request: site.keystone.revoke(request)))
    for path, answer in _ANSWERS.items():
        handler = at_site(path.split("/")[2], _guarded(answer))
        app.router.add_get(path, handler)
        app.router.add_get(f"{path}/", handler)
    return app


async def _with_faults(site: ServedSite, operation: str, request: web.Request) -> web.StreamResponse | None:
    """Wait for the site's delay; return the answer of a fault that strikes, None when none does."""
    fault = site.spec.faults.get(operation) or site.spec.faults.get(EVERYTHING)
    kind = fault.strike() if fault is not None else None
    delay_s = site.spec.delay_s + (fault.delay_s if fault is not None and kind is not None else 0.0)
    if delay_s:
        await asyncio.sleep(delay_s)
    if kind == FaultKind.CUT and request.transport is not None:
        request.transport.abort()
    return faulty_response(kind) if kind is not None else None


def _guarded(answer: Callable[[SiteSpec, web.Request], web.Response]) -> DueDeliveries:
    """Pass requests that have a token with a role that may read."""

    async def handle(site: ServedSite, request: web.Request) -> web.StreamResponse:
        token = site.keystone.find(request.headers.get(AUTH_TOKEN))
        if token is None:
            return unauthorized()
        if not {role["name"] for role in token["roles"]} & {"admin", "reader", "operator", "configurator"}:
            return sysinv_error(403, "Client", "Access was denied to this resource.")
        return answer(site.spec, request)

    return handle


def _host(spec: SiteSpec, request: web.Request) -> web.Response:
    hostname = request.match_info["host"]
    host = sysinv_api.ihost(spec, hostname)
    if host is None:
        return sysinv_error(404, "Client", f"No server with id {hostname} found")
    return web.json_response(host)


_ANSWERS: Final[Mapping[str, Callable[[SiteSpec, web.Request], web.Response]]] = {
    "/v1/isystems": lambda spec, _: web.json_response(sysinv_api.isystems(spec)),
    "/v1/health": lambda spec, _: web.json_response(sysinv_api.health(spec)),
    "/v1/iextoam": lambda spec, _: web.json_response(sysinv_api.iextoam(spec)),
    "/v1/ihosts/{host}": _host,
    "/v1/servicegroup": lambda spec, _: web.json_response(sysinv_api.servicegroup(spec)),
    "/v1/upgrade": lambda spec, _: sysinv_api.upgrade(spec),
    "/v1/deploy": lambda spec, _: sysinv_api.deploy(spec),
    "/v1/release": lambda spec, _: web.json_response(spec.releases),
    "/v1.0/subclouds": lambda spec, _: web.json_response({"subclouds": spec.subclouds}),
}


def _bound(host: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
    except OSError:
        one.close()
        raise
    return one
