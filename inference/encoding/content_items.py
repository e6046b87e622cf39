"""The content items that our reports are made of: numbers with uncertainty, origin and algorithm (TID 300, 310, 4019).

highdicom builds the skeleton; what it has no parameter for (uncertainty in the unit of the value, INFERRED FROM a
number, Equivalent Meaning) is added here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from highdicom.sr import (
    AlgorithmIdentification,
    CodeContentItem,
    CodedConcept,
    ContentSequence,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    LongitudinalTemporalOffsetFromEvent,
    Measurement,
    NumContentItem,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    TextContentItem,
    TimePointContext,
)
from highdicom.sr.value_types import ContentItem
from pydicom.sr.coding import Code

from inference.encoding import codes, identity
from inference.encoding.text import plain
from longitudinal.types import AlgorithmIdentity, StudyResult


@dataclass(frozen=True)
class Inferred:
    """A number that another one is inferred from, by value."""

    name: Code
    value: float
    unit: Code


def device_observer() -> ObserverContext:
    """This software as the observer (TID 1004)."""
    device = DeviceObserverIdentifyingAttributes(
        uid=identity.DEVICE_UID,
        name="Timepoint",
        manufacturer_name=identity.MANUFACTURER,
        model_name=identity.MODEL_NAME,
    )
    return ObserverContext(
        observer_type=CodedConcept.from_code(codes.DEVICE_OBSERVER), observer_identifying_attributes=device
    )


def algorithm(model: AlgorithmIdentity, extra: Sequence[str] = ()) -> AlgorithmIdentification:
    """TID 4019 with the hash of the weights, the model's parameters and `extra` as Algorithm Parameters."""
    parameters = [f"weights sha256 {model.weights_sha256}", *model.parameters, *extra]
    return AlgorithmIdentification(
        name=plain(model.name),
        version=plain(model.version),
        parameters=[plain(parameter) for parameter in parameters],
        family=codes.AI_FAMILY,
        manufacturer=plain(model.manufacturer),
    )


def measurement(
    name: Code,
    value: float,
    unit: Code,
    identification: AlgorithmIdentification,
    *,
    method: Code | None = None,
    derivation: Code | None = None,
    uncertainty: Sequence[tuple[Code, float]] = (),
    significance: Code | None = None,
    inferred_from: Iterable[Inferred] = (),
    meaning: str | None = None,
) -> Measurement:
    """A NUM (TID 300). `uncertainty` pairs a concept of CID 225 with a half-width in the unit of the value."""
    built = Measurement(
        name=name, value=_tidy(value), unit=unit, algorithm_id=identification, method=method, derivation=derivation
    )
    children = built[0].ContentSequence
    children.extend(
        NumContentItem(concept, _tidy(half_width), unit, relationship_type=RelationshipTypeValues.HAS_PROPERTIES)
        for concept, half_width in uncertainty
    )
    if significance is not None:
        children.append(
            CodeContentItem(codes.SIGNIFICANCE, significance, relationship_type=RelationshipTypeValues.HAS_PROPERTIES)
        )
    children.extend(
        NumContentItem(item.name, _tidy(item.value), item.unit, relationship_type=RelationshipTypeValues.INFERRED_FROM)
        for item in inferred_from
    )
    if meaning is not None:
        children.append(equivalent_meaning(meaning))
    return built


def _tidy(value: float) -> float:
    """Nine significant digits: far below any tolerance, and no tail of binary rounding for people to read."""
    return float(f"{value:.9g}")


def equivalent_meaning(text: str) -> TextContentItem:
    """The sentence that viewers show in place of the concept name (121050)."""
    return TextContentItem(
        codes.EQUIVALENT_MEANING, plain(text), relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD
    )


def evaluation(name: Code, value: Code) -> QualitativeEvaluation:
    """A coded question and answer."""
    return QualitativeEvaluation(CodedConcept.from_code(name), CodedConcept.from_code(value))


def code_item(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(name, value, relationship_type=RelationshipTypeValues.CONTAINS)


def text_item(name: Code, value: str) -> TextContentItem:
    return TextContentItem(name, plain(value), relationship_type=RelationshipTypeValues.CONTAINS)


def content(items: Iterable[ContentItem]) -> ContentSequence:
    return ContentSequence(list(items))


def brain() -> FindingSite:
    return FindingSite(codes.BRAIN)


def time_point_name(result: StudyResult) -> str:
    """The time point in words."""
    return f"Time point {result.timepoint.order}, {result.timepoint.acquired.isoformat()}"


def time_point(result: StudyResult) -> TimePointContext:
    """TID 1502 for the time point of a result."""
    context = result.timepoint
    kind = codes.BASELINE if context.is_baseline else codes.NADIR if context.is_nadir else None
    return TimePointContext(
        time_point=time_point_name(result),
        time_point_type=kind,
        time_point_order=context.order,
        subject_time_point_identifier=str(context.order),
        temporal_offset_from_event=LongitudinalTemporalOffsetFromEvent(
            value=context.days_from_baseline, unit=codes.DAY, event_type=codes.BASELINE
        ),
    )
