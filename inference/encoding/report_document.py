"""The frame of every report: a Comprehensive 3D SR with TID 1500 as its root, observer, evidence and flags."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from highdicom.sr import (
    CodedConcept,
    Comprehensive3DSR,
    ContainerContentItem,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    RelationshipTypeValues,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr.value_types import ContentItem
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.encoding import codes, identity
from inference.encoding.content_items import content, device_observer
from inference.encoding.identity import Purpose
from inference.encoding.source_headers import (
    common_study,
    full_header,
    local_time,
    reference_header,
    requested_procedures,
    stamp,
)
from longitudinal.types import StudyResult

Group = VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


@dataclass(frozen=True)
class DocumentKind:
    """What sets one kind of report apart from the others."""

    purpose: Purpose
    title: Code
    series_number: int
    series_description: str
    series_code: Code


MEASUREMENTS = DocumentKind(
    Purpose.MEASUREMENTS, codes.ONCOLOGY_REPORT, 99102, "Timepoint tumor measurements", codes.SERIES_MEASUREMENTS
)
DIAMETERS = DocumentKind(
    Purpose.DIAMETERS, codes.IMAGING_REPORT, 99103, "Timepoint tumor diameters (RANO)", codes.SERIES_DIAMETERS
)
FORECAST = DocumentKind(
    Purpose.FORECAST, codes.ONCOLOGY_REPORT, 99104, "Timepoint FORECAST, not measured", codes.SERIES_FORECAST
)


@dataclass(frozen=True)
class DocumentContext:
    """What all reports of one study revision share.

    `evidence` are the original images of every series that was used, then the SEG; the first one gives patient and
    study. `digest` is the content digest of the result. `previous` are objects of earlier revisions of this study,
    of any kind; each report names its own predecessors among them.
    """

    result: StudyResult
    evidence: Sequence[Dataset]
    digest: str
    created: dt.datetime
    previous: Sequence[Dataset] = field(default=())


def write_report(
    kind: DocumentKind, context: DocumentContext, groups: Sequence[Group], findings: Sequence[ContentItem] = ()
) -> Dataset:
    """Make the document. `findings` are CODE and TEXT items of its Qualitative Evaluations (TID 1500 row 12)."""
    original = context.evidence[0]
    result = context.result
    common_study(context.evidence)
    report = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device_observer()),
        procedure_reported=codes.MRI_PROCEDURE,
        imaging_measurements=list(groups),
        title=kind.title,
    )
    if findings:
        report[0].ContentSequence.append(_qualitative_evaluations(findings))
    document = Comprehensive3DSR(
        evidence=[full_header(original), *(reference_header(ds) for ds in context.evidence[1:])],
        content=report[0],
        series_instance_uid=identity.series_uid(kind.purpose, result),
        series_number=kind.series_number,
        sop_instance_uid=identity.instance_uid(kind.purpose, result, context.digest),
        instance_number=max(result.revision, 1),
        manufacturer=identity.MANUFACTURER,
        manufacturer_model_name=identity.MODEL_NAME,
        software_versions=identity.software_version(),
        device_serial_number=result.segmentation.weights_sha256[:16] or "0",
        is_complete=True,
        is_final=not result.preliminary,
        is_verified=False,
        requested_procedures=requested_procedures(original),
        previous_versions=_predecessors(kind, context) or None,
        contributing_equipment=[identity.contributing_equipment(local_time(original, context.created))],
        series_description=kind.series_description,
    )
    document.SeriesDescriptionCodeSequence = [CodedConcept.from_code(kind.series_code)]
    stamp(document, original, context.created)
    return document


def _qualitative_evaluations(findings: Sequence[ContentItem]) -> ContainerContentItem:
    container = ContainerContentItem(codes.QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = content(findings)
    return container


def _predecessors(kind: DocumentKind, context: DocumentContext) -> list[Dataset]:
    """Earlier documents of the same kind, told by the code of their series."""
    uid = identity.instance_uid(kind.purpose, context.result, context.digest)
    return [
        ds
        for ds in context.previous
        if ds.get("Modality") == "SR"
        and ds.SOPInstanceUID != uid
        and any(
            (item.get("CodingSchemeDesignator"), item.get("CodeValue"))
            == (kind.series_code.scheme_designator, kind.series_code.value)
            for item in ds.get("SeriesDescriptionCodeSequence") or ()
        )
    ]
