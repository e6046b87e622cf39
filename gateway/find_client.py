"""An archive that is asked by C-FIND, Study Root (PS3.4 Annex C)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from gateway.archive_query import ArchivedSeries, ArchivedStudy, ArchiveSilent, count_of, date_of
from gateway.dimse_client import RemoteAe, associate, why_not
from gateway.settings import Peer

TIMEOUT_S = 10.0
_PENDING = (0xFF00, 0xFF01)


@dataclass(frozen=True)
class FindArchive:
    """The archive at a peer; each question is an association of its own."""

    local_ae_title: str
    peer: Peer

    def studies(self, patient_id: str) -> list[ArchivedStudy]:
        keys = {
            "QueryRetrieveLevel": "STUDY", "PatientID": patient_id, "IssuerOfPatientID": "",
            "ModalitiesInStudy": "MR", "StudyInstanceUID": "", "StudyDate": "", "StudyDescription": "",
        }  # fmt: skip
        return [
            ArchivedStudy(
                study_instance_uid=_text(found, "StudyInstanceUID"),
                patient_id=_text(found, "PatientID"),
                issuer=_text(found, "IssuerOfPatientID"),
                acquired=date_of(_text(found, "StudyDate")),
                modalities=frozenset(_text(found, "ModalitiesInStudy").split("\\")) - {""},
                description=_text(found, "StudyDescription"),
            )
            for found in self._find(keys)
        ]

    def series(self, study_instance_uid: str) -> list[ArchivedSeries]:
        keys = {
            "QueryRetrieveLevel": "SERIES", "StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": "",
            "Modality": "", "NumberOfSeriesRelatedInstances": None, "SeriesDescription": "", "BodyPartExamined": "",
        }  # fmt: skip
        return [
            ArchivedSeries(
                series_instance_uid=_text(found, "SeriesInstanceUID"),
                modality=_text(found, "Modality"),
                instances=count_of(found.get("NumberOfSeriesRelatedInstances")),
                description=_text(found, "SeriesDescription"),
                body_part=_text(found, "BodyPartExamined"),
            )
            for found in self._find(keys)
        ]

    def sop_classes(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        keys = {
            "QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": study_instance_uid,
            "SeriesInstanceUID": series_instance_uid, "SOPInstanceUID": "", "SOPClassUID": "",
        }  # fmt: skip
        return [_text(found, "SOPClassUID") for found in self._find(keys)]

    def _find(self, keys: Mapping[str, Any]) -> list[Dataset]:
        ae = AE(ae_title=self.local_ae_title)
        ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
        assoc = associate(ae, RemoteAe.of(self.peer), TIMEOUT_S)
        if not assoc.is_established:
            raise ArchiveSilent(why_not(assoc))
        query = Dataset()
        query.SpecificCharacterSet = "ISO_IR 192"  # the answer may be in any other
        for keyword, value in keys.items():
            setattr(query, keyword, value)
        try:
            return list(_answers(assoc, query))
        finally:
            if assoc.is_established:
                assoc.release()


def _answers(assoc: Association, query: Dataset) -> Iterator[Dataset]:
    status: Any
    for status, found in assoc.send_c_find(query, StudyRootQueryRetrieveInformationModelFind):
        if "Status" not in status:
            raise ArchiveSilent("the archive did not answer C-FIND in time")
        if status.Status in _PENDING:
            if found is not None:
                yield found
        elif status.Status != 0:
            raise ArchiveSilent(f"C-FIND was refused with 0x{status.Status:04X}")


def _text(found: Dataset, keyword: str) -> str:
    value = found.get(keyword)
    if value is None:
        return ""
    several = value if isinstance(value, MultiValue) else [value]
    return "\\".join(str(v).strip() for v in several)
