"""The FHIR bundle of a study revision, with the clinical facts that the publisher needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from sqlmodel import Session

from gateway.context import Gateway
from gateway.object_names import FORECAST, REPORT, SEG
from gateway.published_identity import Origin, PublishedIdentity, identity_to_publish
from gateway.rehoming import rehomings
from gateway.results import StudyInRecord
from inference.encoding.identity import software_version
from inference.encoding.segment_plan import LESION_STRUCTURES, tracking_uid
from longitudinal.types import Reference, StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.context import PublishContext, Version, Write, publication_key

UNKNOWN_ISSUER = "urn:timepoint:issuer:unknown"


@dataclass(frozen=True)
class Publisher:
    """What the database says about a publication: whom it states, and under which record its resources are known
    (see `timepoint_fhir.context.PublishContext.record`), by Study Instance UID."""

    who: PublishedIdentity
    records: Mapping[str, str]


def read_publisher(session: Session, at: StudyInRecord, revision: int) -> Publisher:
    """Whom a result states, and how often what was published of the studies it refers to had to be taken back."""
    records = {s.study_instance_uid: _record(session, s.study_key, None) for _, s in at.patient.rows}
    records[at.study.study_instance_uid] = _record(session, at.study.study_key, revision)
    return Publisher(identity_to_publish(session, at.study), records)


def _record(session: Session, study_key: str, until: int | None) -> str:
    taken_back = sum(1 for change in rehomings(session, study_key, until) if change.taken_back)
    return str(taken_back) if taken_back else ""


def fhir_bundle(
    gateway: Gateway,
    at: StudyInRecord,
    result: StudyResult,
    publisher: Publisher,
    sop_uids: Mapping[str, str],
    issued: dt.datetime,
    segmentation: Dataset | None = None,
) -> dict[str, Any] | None:
    """The transaction bundle of a result, or None where no FHIR server is configured.

    `segmentation` is the SEG, None where nothing was found. `sop_uids` maps the names of the delivered objects ("seg",
    "sr", "forecast-sr") to their SOP Instance UIDs.
    """
    options = gateway.settings.fhir
    if not options.base_url:
        return None
    who = publisher.who
    order = None if who.origin is Origin.MOVED else at.study.identity.get("accession_number")
    context = PublishContext(
        patient_identifier=who.patient_id,
        patient_identifier_system=options.patient_system or issuer_system(who.issuer),
        study_instance_uid=result.study_instance_uid,
        study_datetime=result.timepoint.acquired,
        issued=issued,
        software_version=software_version(),
        accession_number=order or None,  # that of a moved study is an order for the other patient
        record=publisher.records[result.study_instance_uid],
        seg_sop_instance_uid=sop_uids.get(SEG),
        sr_sop_instance_uid=sop_uids.get(REPORT),
        forecast_sr_sop_instance_uid=sop_uids.get(FORECAST),
        reference_studies=_reference_studies(at, publisher),
        match_patient=options.patients != "identifier",
        create_patient=options.patients == "create",
        write=Write(options.write),
        version=Version(options.version),
        segments=_segments(result, segmentation),
        seg_class=str(segmentation.SOPClassUID) if segmentation is not None else "",
    )
    return build_bundle(result, context)


def _segments(result: StudyResult, segmentation: Dataset | None) -> dict[str, list[int]]:
    """The segment numbers of each lesion, by its tracking UID."""
    if segmentation is None:
        return {}
    owner = {tracking_uid(le.tracking_uid, s): le.tracking_uid for le in result.lesions for s in LESION_STRUCTURES}
    found: dict[str, list[int]] = {}
    for segment in segmentation.SegmentSequence:
        if lesion := owner.get(str(segment.get("TrackingUID", ""))):
            found.setdefault(lesion, []).append(int(segment.SegmentNumber))
    return found


def issuer_system(issuer: str) -> str:
    """An issuer that is an OID or URL is a system as it stands; any other becomes a URN of ours."""
    if not issuer:
        return UNKNOWN_ISSUER
    if issuer.replace(".", "").isdigit():
        return f"urn:oid:{issuer}"
    return issuer if ":" in issuer else f"urn:timepoint:issuer:{issuer}"


def _reference_studies(at: StudyInRecord, publisher: Publisher) -> dict[Reference, str]:
    by_date = {p.context.acquired: p.study_instance_uid for p in at.patient.record.time_points}
    changes = [change for lesion in at.point.lesions for change in lesion.changes]
    return {
        c.reference: publication_key(by_date[c.reference_date], publisher.records[by_date[c.reference_date]])
        for c in changes
        if c.reference_date in by_date
    }
