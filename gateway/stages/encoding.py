"""Encode: SEG, SR and the FHIR bundle from one result and the original headers, each with its delivery row.

The objects' times come from the forecast's row, so that a repeat makes the same bytes and the same UIDs.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pydicom
from pydicom import Dataset
from sqlmodel import Session, col, select

from gateway.context import Gateway
from gateway.database import read_scope, session_scope
from gateway.delivery_progress import settle_study
from gateway.engine import Arguments
from gateway.frames import analysis_folder
from gateway.object_names import BUNDLE, DIAMETERS, FHIR_DESTINATION, FORECAST, REJECTION, REPORT, SEG
from gateway.publication import fhir_bundle, read_publisher
from gateway.published_identity import PublishedIdentity, original_attributes, state_patient
from gateway.rehoming import about_the_same_person
from gateway.results import StudyInRecord, read_result, read_study_in_record, with_original_images
from gateway.segmentation_kind import segmentation_kind
from gateway.stages.deidentification import original_images
from gateway.stages.progress import advance, hold_revision, key_and_revision
from gateway.summary_page import encode_summary
from gateway.tables import Delivery, DeliveryState, ForecastRow, Study, StudyState
from inference.encoding.encoded_study import EncodedStudy, encode_study
from inference.encoding.report_document import DocumentContext
from inference.study import load_analysis
from longitudinal.types import Contrast, StudyResult
from timepoint_fhir.retraction import revision_bundle


@dataclass(frozen=True)
class MadeObject:
    """An encoded object in the result store."""

    name: str
    sop_instance_uid: str
    blob: str


def run(gateway: Gateway, arguments: Arguments) -> None:
    """Encode a study revision and queue its deliveries; those of earlier revisions still waiting are dropped."""
    study_key, revision = key_and_revision(arguments)
    with read_scope(gateway.database) as session:
        at = read_study_in_record(session, study_key)
        result = read_result(session, study_key, revision)
        made_at = session.exec(
            select(ForecastRow.created_at).where(ForecastRow.study_key == study_key, ForecastRow.revision == revision)
        ).one()
        previous = _previous_reports(gateway, session, at.study, revision)
        published = _published_bundle(gateway, session, study_key, revision)
        publisher = read_publisher(session, at, revision)
    result, encoded, header = _encode(gateway, at, result, made_at, previous, publisher.who)
    context = DocumentContext(result, [header], str(encoded.report.SOPInstanceUID), made_at)
    made = _store(gateway, encoded, encode_summary(gateway, at, result, context))
    uids = {m.name: m.sop_instance_uid for m in made}
    bundle = fhir_bundle(gateway, at, result, publisher, uids, made_at, encoded.segmentation)
    if bundle is not None and published is not None:
        bundle = revision_bundle(published, bundle)
    with session_scope(gateway.database) as session:
        hold_revision(session, study_key, revision)
        _queue(gateway, session, study_key, revision, made, bundle)
    advance(gateway, study_key, revision, StudyState.ENCODED)
    with session_scope(gateway.database) as session:
        settle_study(session, study_key, gateway.settings)


def _encode(
    gateway: Gateway,
    at: StudyInRecord,
    result: StudyResult,
    made_at: datetime,
    previous: Sequence[Dataset],
    who: PublishedIdentity,
) -> tuple[StudyResult, EncodedStudy, Dataset]:
    """The result with its original UIDs, its objects, and a header of the study that they were made from."""
    originals = [
        pydicom.dcmread(f, stop_before_pixels=True) for f in original_images(gateway, at.study.study_key).files
    ]
    originals.sort(
        key=lambda ds: (str(ds.SeriesInstanceUID), int(ds.get("InstanceNumber") or 0), str(ds.SOPInstanceUID))
    )
    changed = original_attributes(originals[0], who, made_at)
    state_patient(originals, who)
    rings = gateway.key_rings
    result = with_original_images(
        result, {ring.uid(str(ds.SOPInstanceUID)): str(ds.SOPInstanceUID) for ring in rings for ds in originals}
    )
    analysis = load_analysis(analysis_folder(gateway, at.study.study_key, at.row.revision))
    series = {
        Contrast(contrast): [ds for ds in originals if uid in {ring.uid(str(ds.SeriesInstanceUID)) for ring in rings}]
        for contrast, uid in at.analysis.detail["series"].items()
    }
    reference = next(c for c, uid in at.analysis.detail["series"].items() if uid == analysis.reference_series_uid)
    encoded = encode_study(
        result,
        analysis.labels,
        analysis.lesions,
        series,
        Contrast(reference),
        created=made_at,
        previous=previous,
        kind=segmentation_kind(gateway.settings),
    )
    for made in encoded.objects if changed else ():
        made.OriginalAttributesSequence = changed
    return result, encoded, originals[0]


def _previous_reports(gateway: Gateway, session: Session, study: Study, revision: int) -> list[Dataset]:
    """The reports of the last revision that was encoded, to be named as predecessors; none about another person."""
    found = session.exec(
        select(Delivery)
        .where(
            Delivery.study_key == study.study_key,
            Delivery.revision < revision,
            Delivery.object_name != REJECTION,
            col(Delivery.blob).is_not(None),
        )
        .order_by(col(Delivery.revision).desc())
    ).all()
    rows = about_the_same_person(session, study, [row for row in found if row.object_name != BUNDLE])
    blobs = {r.object_name: r.blob for r in rows if r.revision == rows[0].revision and r.blob}
    return [pydicom.dcmread(gateway.results.path(blob)) for _, blob in sorted(blobs.items())]


def _published_bundle(gateway: Gateway, session: Session, study_key: str, revision: int) -> dict[str, object] | None:
    """The bundle of the last revision before this one: what it says and this one does not must be retracted."""
    row = session.exec(
        select(Delivery)
        .where(Delivery.study_key == study_key, Delivery.revision < revision, Delivery.object_name == BUNDLE)
        .order_by(col(Delivery.revision).desc())
    ).first()
    return dict(json.loads(gateway.results.read(row.blob))) if row and row.blob else None


def _store(gateway: Gateway, encoded: EncodedStudy, pages: Sequence[tuple[str, Dataset]]) -> list[MadeObject]:
    """Put the objects into the result store; the pages carry the Original Attributes of the reports."""
    changed = encoded.report.get("OriginalAttributesSequence")
    for _, page in pages if changed else ():
        page.OriginalAttributesSequence = changed
    named = [
        (SEG, encoded.segmentation),
        (REPORT, encoded.report),
        (DIAMETERS, encoded.diameters),
        (FORECAST, encoded.forecast),
        *pages,
    ]
    made = []
    for name, dataset in named:
        if dataset is not None:
            buffer = io.BytesIO()
            dataset.save_as(buffer, enforce_file_format=True)
            made.append(MadeObject(name, str(dataset.SOPInstanceUID), gateway.results.put(buffer.getvalue())))
    return made


def _queue(
    gateway: Gateway,
    session: Session,
    study_key: str,
    revision: int,
    made: Sequence[MadeObject],
    bundle: dict[str, object] | None,
) -> None:
    rows = session.exec(select(Delivery).where(Delivery.study_key == study_key)).all()
    for row in rows:
        if row.revision < revision and row.state is DeliveryState.PENDING and row.object_name != REJECTION:
            row.state = DeliveryState.SUPERSEDED
            session.add(row)
    there = {(r.destination, r.object_name) for r in rows if r.revision == revision}
    wanted = [(d.name, m) for d in gateway.settings.destinations for m in made]
    if bundle is not None:
        data = json.dumps(bundle, sort_keys=True, ensure_ascii=False).encode()
        wanted.append((FHIR_DESTINATION, MadeObject(BUNDLE, "", gateway.results.put(data))))
    for destination, item in wanted:
        if (destination, item.name) not in there:
            session.add(
                Delivery(
                    study_key=study_key,
                    revision=revision,
                    destination=destination,
                    object_name=item.name,
                    sop_instance_uid=item.sop_instance_uid,
                    blob=item.blob,
                )
            )
