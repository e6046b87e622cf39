"""Fetching the series of an earlier study: C-MOVE to our own node (PS3.4 C.4.2), C-GET, or WADO-RS (PS3.18 10.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove  # type: ignore[attr-defined]

from gateway.arrivals import ArrivalRules
from gateway.associations import broken, new_carrier, released
from gateway.context import Gateway
from gateway.dicomweb_client import DicomwebError, dicomweb, refusal
from gateway.dimse_client import RemoteAe, associate, why_not
from gateway.get_client import Limits, get_series
from gateway.multipart_stream import BrokenMultipart, DicomParts, NotMultipartDicom, PartTooLarge
from gateway.receiver import Receiver
from gateway.settings import Peer
from gateway.stow_receiver import StoreTransaction

_LEAST_TIME_S = 600.0
_PENDING = (0xFF00, 0xFF01)
_WARNING = 0xB000
_UNKNOWN_DESTINATION = 0xA801
_ANY_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What the archive says it has sent; `problem` is empty where it says all went well."""

    completed: int
    failed: int
    problem: str = ""


def retrieve(gateway: Gateway, peer: Peer, study_instance_uid: str, series: Sequence[str]) -> Retrieved:
    """Fetch series by the way that the settings name. What has arrived is for the caller to count."""
    if gateway.settings.priors.retrieve == "wado-rs":
        return _by_wado(gateway, peer, study_instance_uid, series)
    if gateway.settings.priors.retrieve == "c-get":
        return _by_get(gateway, peer, study_instance_uid, series)
    return _by_move(gateway.settings.dicom.ae_title, peer, study_instance_uid, series)


def _by_move(local_ae_title: str, peer: Peer, study_instance_uid: str, series: Sequence[str]) -> Retrieved:
    ae = AE(ae_title=local_ae_title)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    assoc = associate(ae, RemoteAe.of(peer), 30.0)
    if not assoc.is_established:
        return Retrieved(0, 0, why_not(assoc))
    completed = failed = 0
    problem = ""
    try:
        for uid in series:
            moved = _move(assoc, local_ae_title, study_instance_uid, uid)
            completed, failed = completed + moved.completed, failed + moved.failed
            problem = problem or moved.problem
            if not assoc.is_established:
                break
    finally:
        if assoc.is_established:
            assoc.release()
    return Retrieved(completed, failed, problem)


def _move(assoc: Association, local_ae_title: str, study_instance_uid: str, series_instance_uid: str) -> Retrieved:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = study_instance_uid, series_instance_uid
    last: Any = Dataset()
    for last, _ in assoc.send_c_move(query, local_ae_title, StudyRootQueryRetrieveInformationModelMove):
        if "Status" not in last:
            return Retrieved(0, 0, "the archive did not answer C-MOVE in time")
        if last.Status not in _PENDING:
            break
    completed = int(last.get("NumberOfCompletedSuboperations") or 0)
    completed += int(last.get("NumberOfWarningSuboperations") or 0)
    failed = int(last.get("NumberOfFailedSuboperations") or 0)
    status = int(last.get("Status", 0))
    if status == _UNKNOWN_DESTINATION:
        return Retrieved(completed, failed, f"the archive does not know {local_ae_title} as a move destination")
    if status not in (0, _WARNING):
        return Retrieved(completed, failed, f"C-MOVE was refused with 0x{status:04X}")
    return Retrieved(completed, failed, f"{failed} images could not be sent" if failed else "")


def _by_get(gateway: Gateway, peer: Peer, study_instance_uid: str, series: Sequence[str]) -> Retrieved:
    transaction = _transaction(gateway, peer, study_instance_uid)
    limits = Limits(
        seconds=max(_LEAST_TIME_S, gateway.settings.priors.wait_s),
        instance_bytes=gateway.settings.web.max_instance_mb * 2**20,
    )
    end, problem = broken, ""
    try:
        local = gateway.settings.dicom.ae_title
        problem = get_series(local, RemoteAe.of(peer), study_instance_uid, series, transaction.take_instance, limits)
        end = released if not problem else broken
    finally:
        end(gateway.database, transaction.carrier)
    return _retrieved(transaction, problem)


def _transaction(gateway: Gateway, peer: Peer, study_instance_uid: str) -> StoreTransaction:
    receiver = Receiver(gateway.database, gateway.received, ArrivalRules.from_settings(gateway.settings))
    return StoreTransaction(receiver, new_carrier(peer.ae_title.strip()), study_instance_uid)


def _retrieved(transaction: StoreTransaction, problem: str) -> Retrieved:
    if transaction.failed and not problem:
        problem = f"{transaction.failed} images could not be taken"
    return Retrieved(transaction.stored, transaction.failed, problem)


def _by_wado(gateway: Gateway, peer: Peer, study_instance_uid: str, series: Sequence[str]) -> Retrieved:
    transaction = _transaction(gateway, peer, study_instance_uid)
    end, problem = broken, ""
    try:
        for uid in series:
            _download(gateway, peer, f"studies/{study_instance_uid}/series/{uid}", transaction)
        end = released
    except (DicomwebError, BrokenMultipart, NotMultipartDicom, PartTooLarge) as error:
        problem = str(error)
    finally:
        end(gateway.database, transaction.carrier)
    return _retrieved(transaction, problem)


def _download(gateway: Gateway, peer: Peer, path: str, transaction: StoreTransaction) -> None:
    with (
        dicomweb(peer.token_file) as http,
        http.stream("GET", f"{peer.url}/{path}", headers={"Accept": _ANY_DICOM}) as answer,
    ):
        if answer.status_code not in (200, 206):
            raise refusal(answer)
        limit = gateway.settings.web.max_instance_mb * 2**20
        parts = DicomParts(answer.headers.get("Content-Type", ""), limit)
        for chunk in answer.iter_bytes():
            for content in parts.feed(chunk):
                transaction.take(content)
        parts.close()
