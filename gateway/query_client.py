"""Query/retrieve and storage commitment, as far as the doctor asks for them (PS3.4 Annex C and J)."""

from __future__ import annotations

from collections.abc import Callable

from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from gateway.dimse_client import RemoteAe, associate, why_not

NO_SUCH_STUDY = "2.25.0"
_TOO_LITTLE_KNOWN = {0xA801: "the PACS does not know us as a move destination"}


def find_is_answered(local_ae_title: str, remote: RemoteAe) -> str | None:
    """C-FIND for a study that does not exist; None when it was answered, else a sentence."""
    return _asked(local_ae_title, remote, StudyRootQueryRetrieveInformationModelFind, _find)


def move_is_answered(local_ae_title: str, remote: RemoteAe) -> str | None:
    """C-MOVE to ourselves of a study that does not exist; None when it was answered, else a sentence."""
    return _asked(local_ae_title, remote, StudyRootQueryRetrieveInformationModelMove, _move)


def offers_storage_commitment(local_ae_title: str, remote: RemoteAe) -> str | None:
    """Whether the peer accepts the storage commitment push model; None when it does, else a sentence."""
    return _asked(local_ae_title, remote, StorageCommitmentPushModel, lambda _assoc, _ae: None)


def _asked(
    local_ae_title: str, remote: RemoteAe, sop_class: str, ask: Callable[[Association, str], str | None]
) -> str | None:
    ae = AE(ae_title=local_ae_title)
    ae.add_requested_context(sop_class)
    assoc = associate(ae, remote, 5.0)
    if not assoc.is_established:
        return "not offered" if assoc.is_aborted or assoc.rejected_contexts else why_not(assoc)
    try:
        return ask(assoc, local_ae_title) if assoc.accepted_contexts else "not offered"
    finally:
        assoc.release()


def _query() -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = NO_SUCH_STUDY
    return query


def _find(assoc: Association, _local: str) -> str | None:
    for status, _ in assoc.send_c_find(_query(), StudyRootQueryRetrieveInformationModelFind):
        if "Status" not in status:
            return "no answer"
        if status.Status not in (0x0000, 0xFF00, 0xFF01):
            return f"refused with 0x{status.Status:04X}"
    return None


def _move(assoc: Association, local: str) -> str | None:
    for status, _ in assoc.send_c_move(_query(), local, StudyRootQueryRetrieveInformationModelMove):
        if "Status" not in status:
            return "no answer"
        # 0xC000 is how some archives (Orthanc) say that there is no such study, as here there is none.
        if status.Status not in (0x0000, 0xC000, 0xFF00):
            return _TOO_LITTLE_KNOWN.get(status.Status, f"refused with 0x{status.Status:04X}")
    return None
