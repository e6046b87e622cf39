"""STOW-RS: store instances over HTTP, with the outcome of each (PS3.18 section 10.5)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom

from gateway.dicomweb_client import DICOM_JSON, DicomwebError, dicomweb, first_text, refusal, values
from gateway.dimse_client import StoreOutcome
from gateway.settings import Destination

if TYPE_CHECKING:
    import httpx2

FAILED_SOP_SEQUENCE, REFERENCED_SOP_SEQUENCE = "00081198", "00081199"
REFERENCED_SOP_INSTANCE_UID, FAILURE_REASON, WARNING_REASON = "00081155", "00081197", "00081196"
DUPLICATE_INSTANCE = 0x0111
_CHUNK = 1 << 20


def store(to: Destination, files: Sequence[Path]) -> list[StoreOutcome]:
    """Store Part 10 files in one request, streamed from disk; the outcome of each in order."""
    uids = [_sop_instance_uid(file) for file in files]
    try:
        with dicomweb(to.token_file) as http:
            answer = _post(http, f"{to.url}/studies", files)
    except DicomwebError as error:
        return [StoreOutcome(uid, False, error.retriable, str(error)) for uid in uids]
    if answer.status_code not in (200, 202, 409):
        why = refusal(answer)
        return [StoreOutcome(uid, False, why.retriable, str(why)) for uid in uids]
    said = _read(answer)
    return [_outcome(uid, answer.status_code, said) for uid in uids]


def _post(http: httpx2.Client, url: str, files: Sequence[Path]) -> httpx2.Response:
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    end = f"--{boundary}--\r\n".encode()
    length = sum(len(head) + file.stat().st_size + 2 for file in files) + len(end)

    def body() -> Iterator[bytes]:
        for file in files:
            yield head
            with file.open("rb") as opened:
                while chunk := opened.read(_CHUNK):
                    yield chunk
            yield b"\r\n"
        yield end

    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(length),
        "Accept": DICOM_JSON,
    }
    return http.post(url, content=body(), headers=headers)


def _read(answer: httpx2.Response) -> dict[str, Any]:
    """The store instances response; empty where the archive gave none that can be read."""
    try:
        said = answer.json()
    except ValueError:
        return {}
    if isinstance(said, list):  # some archives wrap it, as query answers are
        said = said[0] if said else {}
    return said if isinstance(said, dict) else {}


def _outcome(uid: str, status: int, said: dict[str, Any]) -> StoreOutcome:
    for item in values(said, FAILED_SOP_SEQUENCE):
        if first_text(item, REFERENCED_SOP_INSTANCE_UID) == uid:
            return _failure(uid, int(first_text(item, FAILURE_REASON) or 0x0110))
    for item in values(said, REFERENCED_SOP_SEQUENCE):
        if first_text(item, REFERENCED_SOP_INSTANCE_UID) == uid:
            warning = first_text(item, WARNING_REASON)
            return StoreOutcome(uid, True, False, f"warning 0x{int(warning):04X}" if warning else "stored")
    if status == 200 and not said:
        return StoreOutcome(uid, True, False, "stored; the archive gave no particulars")
    return StoreOutcome(uid, False, True, "the archive's answer does not name this instance")


def _failure(uid: str, reason: int) -> StoreOutcome:
    if reason == DUPLICATE_INSTANCE:
        # Our UIDs stand for what is in the object: the archive holds this very object from an earlier try.
        return StoreOutcome(uid, True, False, "stored before")
    retriable = reason == 0x0110 or 0xA700 <= reason <= 0xA7FF
    return StoreOutcome(uid, False, retriable, f"refused with 0x{reason:04X}")


def _sop_instance_uid(file: Path) -> str:
    meta = pydicom.dcmread(file, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).file_meta
    return str(meta.MediaStorageSOPInstanceUID)
