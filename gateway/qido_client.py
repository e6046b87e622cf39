"""An archive that is asked by QIDO-RS (PS3.18 section 10.6)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.archive_query import ArchivedSeries, ArchivedStudy, ArchiveSilent, count_of, date_of
from gateway.dicomweb_client import DICOM_JSON, DicomwebError, dicomweb, first_text, refusal, values

TIMEOUT_S = 10.0
_STUDY, _SERIES, _SOP_CLASS = "0020000D", "0020000E", "00080016"
_PATIENT_ID, _ISSUER, _STUDY_DATE, _STUDY_DESCRIPTION = "00100020", "00100021", "00080020", "00081030"
_MODALITIES, _MODALITY, _COUNT = "00080061", "00080060", "00201209"
_SERIES_DESCRIPTION, _BODY_PART = "0008103E", "00180015"


@dataclass(frozen=True)
class QidoArchive:
    """The archive behind a DICOMweb base URL."""

    url: str
    token_file: Path | None = None

    def studies(self, patient_id: str) -> list[ArchivedStudy]:
        wanted = [("PatientID", patient_id), ("ModalitiesInStudy", "MR")]
        wanted += [("includefield", tag) for tag in (_ISSUER, _STUDY_DESCRIPTION, _MODALITIES)]
        return [
            ArchivedStudy(
                study_instance_uid=first_text(found, _STUDY),
                patient_id=first_text(found, _PATIENT_ID),
                issuer=first_text(found, _ISSUER),
                acquired=date_of(first_text(found, _STUDY_DATE)),
                modalities=frozenset(str(v) for v in values(found, _MODALITIES)),
                description=first_text(found, _STUDY_DESCRIPTION),
            )
            for found in self._find("studies", wanted)
        ]

    def series(self, study_instance_uid: str) -> list[ArchivedSeries]:
        wanted = [("includefield", tag) for tag in (_COUNT, _SERIES_DESCRIPTION, _BODY_PART)]
        return [
            ArchivedSeries(
                series_instance_uid=first_text(found, _SERIES),
                modality=first_text(found, _MODALITY),
                instances=count_of(first_text(found, _COUNT)),
                description=first_text(found, _SERIES_DESCRIPTION),
                body_part=first_text(found, _BODY_PART),
            )
            for found in self._find(f"studies/{study_instance_uid}/series", wanted)
        ]

    def sop_classes(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        path = f"studies/{study_instance_uid}/series/{series_instance_uid}/instances"
        return [first_text(found, _SOP_CLASS) for found in self._find(path, [("includefield", _SOP_CLASS)])]

    def _find(self, path: str, wanted: list[tuple[str, str]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        try:
            with dicomweb(self.token_file, TIMEOUT_S) as http:
                while True:
                    page: list[tuple[str, Any]] = [*wanted, ("offset", len(found))] if found else [*wanted]
                    answer = http.get(f"{self.url}/{path}", params=page, headers={"Accept": DICOM_JSON})
                    if answer.status_code == 204 or (answer.status_code == 404 and path != "studies"):
                        return found
                    # above: nothing matches; 404 is how some say that they do not know the study itself
                    if answer.status_code != 200:
                        raise refusal(answer)
                    rows = answer.json()
                    found.extend(rows)
                    # "there are additional results that can be requested" (10.6.3)
                    if not rows or not answer.headers.get("Warning", "").startswith("299"):
                        return found
        except DicomwebError as error:
            raise ArchiveSilent(str(error)) from error
        except ValueError as error:
            raise ArchiveSilent("the archive's answer is no DICOM JSON") from error
