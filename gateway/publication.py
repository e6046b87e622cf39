"""The FHIR bundle of a study revision, with the clinical facts that the publisher needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from gateway.context import Gateway
from gateway.object_names import FORECAST, REPORT, SEG
from gateway.results import StudyInRecord
from inference.encoding.identity import software_version
from longitudinal.types import Reference, StudyResult
from timepoint_fhir.bundle import build_bundle
from timepoint_fhir.context import PublishContext, Write

UNKNOWN_ISSUER = "urn:timepoint:issuer:unknown"


def fhir_bundle(
    gateway: Gateway, at: StudyInRecord, result: StudyResult, sop_uids: Mapping[str, str], issued: dt.datetime
) -> dict[str, Any] | None:
    """The transaction bundle of a result, or None where no FHIR server is configured.

    `sop_uids` maps the names of the delivered objects ("seg", "sr", "forecast-sr") to their SOP Instance UIDs.
    """
    options = gateway.settings.fhir
    if not options.base_url:
        return None
    identity = at.study.identity
    context = PublishContext(
        patient_identifier=identity["patient_id"],
        patient_identifier_system=options.patient_system or _issuer_system(identity.get("issuer", "")),
        study_instance_uid=result.study_instance_uid,
        study_datetime=result.timepoint.acquired,
        issued=issued,
        software_version=software_version(),
        accession_number=identity.get("accession_number") or None,
        seg_sop_instance_uid=sop_uids.get(SEG),
        sr_sop_instance_uid=sop_uids.get(REPORT),
        forecast_sr_sop_instance_uid=sop_uids.get(FORECAST),
        reference_studies=_reference_studies(at),
        match_patient=options.patients != "identifier",
        create_patient=options.patients == "create",
        write=Write(options.write),
    )
    return build_bundle(result, context)


def _issuer_system(issuer: str) -> str:
    """An issuer that is an OID or URL is a system as it stands; any other becomes a URN of ours."""
    if not issuer:
        return UNKNOWN_ISSUER
    if issuer.replace(".", "").isdigit():
        return f"urn:oid:{issuer}"
    return issuer if ":" in issuer else f"urn:timepoint:issuer:{issuer}"


def _reference_studies(at: StudyInRecord) -> dict[Reference, str]:
    by_date = {p.context.acquired: p.study_instance_uid for p in at.patient.record.time_points}
    changes = [change for lesion in at.point.lesions for change in lesion.changes]
    return {c.reference: by_date[c.reference_date] for c in changes if c.reference_date in by_date}
