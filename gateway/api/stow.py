"""`POST /dicom-web/studies`: STOW-RS as a way in, beside C-STORE (PS3.18 section 10.5).

The body is read instance by instance: a request of any length costs the memory of its largest instance.
"""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from gateway.api.access import User, may_send
from gateway.arrivals import ArrivalRules
from gateway.associations import broken, new_carrier, released
from gateway.context import Gateway
from gateway.dicomweb_client import DICOM_JSON
from gateway.multipart_stream import BrokenMultipart, DicomParts, NotMultipartDicom, PartTooLarge
from gateway.receiver import Receiver
from gateway.stow_receiver import StoreTransaction

router = APIRouter(prefix="/dicom-web")
Sender = Annotated[User, Depends(may_send)]
_log = structlog.get_logger(__name__)


@router.post("/studies")
async def store(request: Request, sender: Sender) -> JSONResponse:
    """Store instances of any studies."""
    return await _store(request, sender, "")


@router.post("/studies/{study_instance_uid}")
async def store_in_study(study_instance_uid: str, request: Request, sender: Sender) -> JSONResponse:
    """Store instances of one study; those of another are refused."""
    return await _store(request, sender, study_instance_uid)


async def _store(request: Request, sender: User, study_instance_uid: str) -> JSONResponse:
    gateway: Gateway = request.app.state.gateway
    try:
        parts = DicomParts(request.headers.get("Content-Type", ""), gateway.settings.web.max_instance_mb * 2**20)
    except NotMultipartDicom as problem:
        raise HTTPException(415, f"{problem}.") from None
    receiver = Receiver(gateway.database, gateway.received, ArrivalRules.from_settings(gateway.settings))
    transaction = StoreTransaction(receiver, new_carrier(sender.name), study_instance_uid)
    end = broken
    try:
        await _read(request, parts, transaction)
        end = released
    finally:
        await run_in_threadpool(end, gateway.database, transaction.carrier)
    _log.info("instances came over STOW-RS", status=transaction.status, sender=sender.name)
    headers = {"Retry-After": "60"} if transaction.status == 503 else None
    return JSONResponse(transaction.answer(), transaction.status, headers, media_type=DICOM_JSON)


async def _read(request: Request, parts: DicomParts, transaction: StoreTransaction) -> None:
    try:
        async for chunk in request.stream():
            for content in parts.feed(chunk):
                await run_in_threadpool(transaction.take, content)
        parts.close()
    except NotMultipartDicom as problem:
        raise HTTPException(415, f"{problem}.") from None
    except PartTooLarge as problem:
        raise HTTPException(413, f"{problem}.") from None
    except (BrokenMultipart, ClientDisconnect) as problem:
        raise HTTPException(400, str(problem) or "The body did not come to its end.") from None
