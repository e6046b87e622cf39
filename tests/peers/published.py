"""Published studies with all that they leave behind - rows, images, results, folders - without a pipeline run."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from imaging.mr_series import classic, grid
from peers.indexed import add_patient, add_study
from pydicom.uid import UID
from sqlmodel import Session, select

from gateway.blobs import BlobStore
from gateway.context import Gateway, open_gateway
from gateway.database import session_scope
from gateway.frames import analysis_folder
from gateway.settings import load_settings
from gateway.stages.deidentification import research_study
from gateway.tables import Analysis, Delivery, DeliveryState, Instance, Study, StudyState, TimePoint

RETENTION = "[retention]\noriginals_days = 30\nworking_days = 30\nresults_days = 30\nlogs_days = 30\n"
LONG_AGO = dt.timedelta(days=100)


def gateway_with(folder: Path, text: str = RETENTION) -> Gateway:
    config = folder / "timepoint.toml"
    config.write_text(f'data_dir = "{folder / "data"}"\n{text}', encoding="utf-8")
    return open_gateway(load_settings(config))


def with_store(gateway: Gateway, received: BlobStore) -> Gateway:
    return replace(gateway, received=received)


def dicom_bytes(uid: str) -> bytes:
    image = classic(grid((2, 8, 8), (5.0, 1.0, 1.0)), SeriesDescription="T1 KM")[0]
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    image.PixelData = np.arange(64, dtype="<u2").tobytes()
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def publish(
    gateway: Gateway, uid: str, age: dt.timedelta = LONG_AGO, state: DeliveryState = DeliveryState.DELIVERED
) -> str:
    """A study of its own patient at revision 3: segmented at each, the third is in the record. Returns its key."""
    with session_scope(gateway.database) as session:
        patient = add_patient(session, int(uid.replace(".", "")))
        study = add_study(session, patient, uid, age=age, state=StudyState.PUBLISHED, revision=3)
        key = study.study_key
        for image in session.exec(select(Instance).where(Instance.study_key == key)).all():
            image.blob = gateway.received.put(dicom_bytes(image.sop_instance_uid))
        for revision in (1, 2, 3):
            _analysed(gateway, session, study, revision)
            for name in ("seg", "sr"):
                blob = gateway.results.put(dicom_bytes(f"{uid}.9{revision}.{len(name)}"))
                done = state if revision == 3 else DeliveryState.DELIVERED
                row = Delivery(study_key=key, revision=revision, destination="PACS", object_name=name, blob=blob)
                row.sop_instance_uid, row.state = f"{uid}.9{revision}.{len(name)}", done
                session.add(row)
    make_old(gateway, key, age)
    return key


def _analysed(gateway: Gateway, session: Session, study: Study, revision: int) -> None:
    session.add(Analysis(study_key=study.study_key, patient_key=str(study.patient_key), revision=revision,
                         labels_sha256="0", detail={"series": {}, "frame": None}))  # fmt: skip
    session.add(TimePoint(patient_key=str(study.patient_key), study_key=study.study_key, revision=revision,
                          acquired=dt.date(2026, 1, 1), current=revision == 3))  # fmt: skip
    for folder in (
        analysis_folder(gateway, study.study_key, revision),
        research_study(gateway, study.study_key, revision),
    ):
        folder.mkdir(parents=True)
        (folder / "content").write_bytes(b"0" * 100)


def make_old(gateway: Gateway, study_key: str, age: dt.timedelta) -> None:
    """Set the times that rows keep by themselves."""
    when = dt.datetime.now(dt.UTC) - age
    with gateway.database.begin() as connection:
        for table, column in ((Study, "updated_at"), (Delivery, "updated_at"), (Instance, "received_at")):
            rows = sa.update(table).where(sa.column("study_key") == study_key).values({column: when})
            connection.execute(rows)
