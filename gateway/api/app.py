"""The web application: API, health, metrics and the built pages, with problem+json errors (RFC 9457)."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from gateway.api.access import Gatekeeper, from_another_site
from gateway.api.clinical_routes import router as clinical_router
from gateway.api.events import router as events_router
from gateway.api.identity_routes import router as identity_router
from gateway.api.metrics import render_metrics
from gateway.api.operator_routes import router as operator_router
from gateway.api.priors import router as priors_router
from gateway.api.rate_limit import RateLimit, client_of
from gateway.api.routes import router
from gateway.api.session_routes import renew
from gateway.api.session_routes import router as session_router
from gateway.api.stow import router as stow_router
from gateway.api.viewing import router as viewing_router
from gateway.context import Gateway
from gateway.database import read_scope, require_current
from gateway.engine import JobQueue
from gateway.errors import NotAllowed, NotFound, Permanent, Retriable, TimepointError

PAGES = Path(__file__).parent.parent / "pages"
"""The built web pages (`make web`)."""

_SECURITY = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; "
        "connect-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(gateway: Gateway, queue: JobQueue) -> FastAPI:
    """Build the application on an open gateway.

    Raises:
        SettingsError: when the API would be open to the network without sign-in.
    """
    app = FastAPI(
        title="Timepoint",
        description="Follow brain tumours over time. Every result is AI output and not verified by a reader.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.gateway, app.state.queue = gateway, queue
    app.state.gatekeeper = Gatekeeper(gateway.settings.web)
    app.state.rate_limit = RateLimit(gateway.settings.web.requests_per_minute)
    app.include_router(router)
    app.include_router(identity_router)
    app.include_router(clinical_router)
    app.include_router(priors_router)
    app.include_router(viewing_router)
    app.include_router(session_router)
    app.include_router(operator_router)
    app.include_router(events_router)
    app.include_router(stow_router)
    app.add_exception_handler(TimepointError, _explain)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _refuse)
    app.middleware("http")(_secure)
    _add_health(app, gateway)
    app.mount("/", StaticFiles(directory=PAGES, html=True), name="pages")
    return app


def _add_health(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> dict[str, str]:
        require_current(gateway.database)
        return {"status": "ready"}

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        with read_scope(gateway.database) as session:
            return Response(render_metrics(session), media_type="text/plain; version=0.0.4")


async def _secure(request: Request, call_next):  # type: ignore[no-untyped-def]  # starlette's own signature
    response = _turned_away(request) or await call_next(request)
    renew(request, response)
    if request.url.path.startswith("/assets/") and response.status_code == 200:
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"  # their names tell their content
    for name, value in _SECURITY.items():
        response.headers.setdefault(name, value)
    return response


def _turned_away(request: Request) -> Response | None:
    if from_another_site(request):
        return _problem(403, "Refused", "This came from a page of another site.")
    if request.url.path.startswith("/api/"):
        wait_s = request.app.state.rate_limit.wait_s(client_of(request))
        if wait_s:
            return _problem(429, "Refused", "Too many requests from this address.", {"Retry-After": str(wait_s)})
    return None


def _problem(status: int, title: str, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = {"type": "about:blank", "status": status, "title": title, "detail": detail}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


async def _explain(_request: Request, error: Exception) -> JSONResponse:
    statuses: tuple[tuple[type[Exception], int], ...] = (
        (NotFound, 404),
        (NotAllowed, 409),
        (Retriable, 503),
        (Permanent, 422),
    )
    status = next((code for kind, code in statuses if isinstance(error, kind)), 500)
    detail = error.explanation if isinstance(error, TimepointError) else ""
    return _problem(status, type(error).__name__, detail)


async def _refuse(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        return _problem(500, "Error", "This is a fault of the gateway; its log says where.")
    return _problem(error.status_code, "Refused", str(error.detail), dict(error.headers or {}))
