"""The plain HTTP listeners for operators: `/metrics`, and `/livez` and `/readyz`. They know nothing of the API.

Source: kube-controller-manager's and controller-runtime's `--metrics-bind-address`, `--health-probe-bind-address`
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from proxy.telemetry.health import HealthCheck, examine
from proxy.telemetry.metrics import CONTENT_TYPE, Metrics

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Nobody authenticates here: a scraper and a kubelet need a few, everybody else gets 503."""

KEEP_ALIVE_SECONDS = 30

_HEADERS = {"cache-control": "no-cache, private", "x-content-type-options": "nosniff"}


def metrics_routes(metrics: Metrics) -> list[Route]:
    """`/metrics` in Prometheus' text format."""

    async def serve_metrics(_: Request) -> Response:
        return Response(metrics.exposition(), headers=_HEADERS, media_type=CONTENT_TYPE)

    return [Route("/metrics", serve_metrics)]


def health_routes(live: Sequence[HealthCheck], ready: Sequence[HealthCheck]) -> list[Route]:
    """`/livez` and `/readyz`, with `?verbose`: 200, or 500 with what failed."""

    def route(title: str, checks: Sequence[HealthCheck]) -> Route:
        async def serve_health(request: Request) -> Response:
            report = await examine(title, checks, verbose="verbose" in request.query_params)
            return PlainTextResponse(report.text, status_code=200 if report.healthy else 500, headers=_HEADERS)

        return Route(f"/{title}", serve_health)

    return [route("livez", live), route("readyz", ready)]


class AdminServer(uvicorn.Server):
    """Serves `routes` on a bound socket until cancelled. Signals are somebody else's."""

    def __init__(self, routes: Sequence[Route], listening: socket.socket) -> None:
        super().__init__(
            uvicorn.Config(
                Starlette(routes=routes),
                http="httptools",
                loop="none",
                ws="none",
                lifespan="off",
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                server_header=False,
                proxy_headers=False,
                access_log=False,
                log_config=None,
            )
        )
        self._routes = routes
        self._listening = listening

    async def run_until_cancelled(self) -> None:
        """Serves; the listener is closed when it returns."""
        try:
            await self.serve(sockets=[self._listening])
        except asyncio.CancelledError:
            for server in self.servers:
                server.close()
            raise

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._listening.getsockname()[:2]
        paths = ", ".join(route.path for route in self._routes)
        log.info("%s on http://%s:%d", paths, f"[{host}]" if ":" in host else host, port)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield
