"""Studies as rows of the index, without a receiver: for what looks at the index alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sqlmodel import Session

from gateway.column_types import utc_now
from gateway.tables import Instance, Patient, Series, Study

IMAGES = 4
T1C = {"words": "t1 se tra km", "series_number": "2", "contrast_agent": "Gadovist", "acquired": "20260101101000"}
FLAIR = {"words": "t2 flair tra", "series_number": "3", "acquired": "20260101100000"}
NAMELESS = {"words": "series 9", "series_number": "9"}


def add_patient(session: Session, number: int = 0) -> Patient:
    patient = Patient(surrogate=f"{number:032d}")
    session.add(patient)
    session.flush()
    return patient


def add_study(
    session: Session,
    patient: Patient,
    uid: str,
    series: Sequence[Mapping[str, str]] = (T1C, FLAIR),
    age: dt.timedelta = dt.timedelta(hours=3),
    **values: Any,
) -> Study:
    """A study whose images came `age` ago; each series has four images, 5 mm apart; blobs are named by their number."""
    now = utc_now() - age
    stated: dict[str, Any] = {
        "first_arrival": now,
        "last_arrival": now,
        "acquired": dt.date(2026, 1, 1),
        "source_ae": "PACS",
        **values,
    }
    study = Study(study_instance_uid=uid, patient_key=patient.patient_key, **stated)
    study.instance_count = IMAGES * len(series)
    session.add(study)
    session.flush()
    for place, header in enumerate(series):
        row = Series(study_key=study.study_key, series_instance_uid=f"{uid}.{place + 1}", header=dict(header))
        session.add(row)
        session.flush()
        for number in range(IMAGES):
            session.add(_image(study, row, f"{uid}.{place + 1}.{number + 1}", number))
    session.flush()
    return study


def _image(study: Study, series: Series, uid: str, number: int) -> Instance:
    geometry = {"positions": [[0, 0, 5.0 * number]], "orientation": [1, 0, 0, 0, 1, 0], "number": number}
    return Instance(sop_instance_uid=uid, sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
                    transfer_syntax_uid="1.2.840.10008.1.2.1", study_key=study.study_key, series_id=series.id or 0,
                    blob=f"{hash(uid) % 16**12:064x}", dataset_sha256=uid, size_bytes=1, header=geometry)  # fmt: skip
