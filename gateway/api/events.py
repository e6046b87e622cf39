"""`/api/v1/events`: what moved, as server-sent events, read from the rows: every web node tells the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlmodel import col, func, select

from gateway.api.access import Viewer
from gateway.api.routes import Open
from gateway.context import Gateway
from gateway.database import read_scope
from gateway.errors import DatabaseNotReady
from gateway.tables import Delivery, ExportLedger, Quarantine, Study

router = APIRouter(prefix="/api/v1", tags=["events"])
POLL_S = 1.0
_SILENCE_POLLS = 15
_MOST_STUDIES = 50


@router.get("/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
async def events(request: Request, gateway: Open, _user: Viewer) -> StreamingResponse:
    """One `change` event whenever studies, deliveries, exports or the quarantine moved, naming the studies."""
    return StreamingResponse(_told(request, gateway), media_type="text/event-stream")


async def _told(request: Request, gateway: Gateway) -> AsyncIterator[str]:
    seen = await run_in_threadpool(_look, gateway)
    quiet = 0
    yield "retry: 2000\n\n"
    while not await request.is_disconnected():
        await asyncio.sleep(POLL_S)
        try:
            now = await run_in_threadpool(_look, gateway)
        except DatabaseNotReady:
            continue
        quiet += 1
        if now != seen:
            quiet = 0
            yield f"event: change\ndata: {json.dumps(_difference(seen, now))}\n\n"
        elif quiet % _SILENCE_POLLS == 0:
            yield ": still here\n\n"
        seen = now


def _look(gateway: Gateway) -> dict[str, Any]:
    with read_scope(gateway.database) as session:
        newest = select(Study).order_by(col(Study.updated_at).desc()).limit(_MOST_STUDIES)
        studies = {s.study_key: (s.state.value, s.revision, s.instance_count) for s in session.exec(newest).all()}
        deliveries = session.exec(select(func.count(), func.max(Delivery.updated_at))).one()
        open_items = select(func.count()).select_from(Quarantine).where(col(Quarantine.resolved_at).is_(None))
        exports = select(func.count()).select_from(ExportLedger)
        return {
            "studies": studies,
            "deliveries": [str(part) for part in deliveries],
            "quarantine": session.exec(open_items).one(),
            "exports": session.exec(exports).one(),
        }


def _difference(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    moved = [
        {"study_key": key, "state": stands[0], "revision": stands[1]}
        for key, stands in now["studies"].items()
        if before["studies"].get(key) != stands
    ]
    changed = [name for name in now if name != "studies" and now[name] != before[name]]
    return {"changed": [*(["studies"] if moved else []), *changed], "studies": moved}
