"""The forecast report: what the model expects, kept apart from what was measured.

A series and a document of its own, one TID 1501 group per horizon. The concept of a number is the forecast itself
(TP101), never Volume: a reader that collects volumes and looks at no modifier finds none here. Beside that each number
says three times that it is no measurement: Derivation Estimated, a coded status of the group, and the sentence that
viewers show.
"""

from __future__ import annotations

from highdicom.sr import (
    LongitudinalTemporalOffsetFromEvent,
    MeasurementsAndQualitativeEvaluations,
    TimePointContext,
    TrackingIdentifier,
)
from pydicom.dataset import Dataset

from inference.encoding import codes
from inference.encoding.content_items import (
    Inferred,
    algorithm,
    brain,
    code_item,
    evaluation,
    measurement,
    text_item,
)
from inference.encoding.report_document import FORECAST, DocumentContext, Group, write_report
from inference.encoding.segment_plan import APPEARANCE, Structure
from inference.encoding.text import number, plain
from longitudinal.types import Forecast, ForecastPoint, StudyResult

WARNING = (
    "Forecast of a statistical model from earlier scans of this patient; not a measurement, not a diagnosis. "
    "The interval holds for patients like those of the calibration; a change of treatment is not foreseen."
)


def encode_forecast_report(context: DocumentContext) -> Dataset | None:
    """Write the report, or None where there is no forecast or the model abstained."""
    forecast = context.result.forecast
    if forecast is None or not forecast.points:
        return None
    groups: list[Group] = [
        _group(context.result, forecast, point, step) for step, point in enumerate(forecast.points, start=1)
    ]
    findings = [
        code_item(codes.VALUE_STATUS, codes.FORECAST_NOT_MEASURED),
        text_item(codes.ALGORITHM_NOTE, WARNING),
        text_item(codes.CALIBRATION, forecast.calibration_id),
    ]
    return write_report(FORECAST, context, groups, findings)


def _group(result: StudyResult, forecast: Forecast, point: ForecastPoint, step: int) -> Group:
    appearance = APPEARANCE[Structure(forecast.region.value)]
    coverage = 100 * point.coverage
    meaning = (
        f"Forecast {appearance.label} volume at +{point.horizon_days} days: {number(point.median_ml)} ml "
        f"({coverage:.0f} % interval {number(point.lower_ml)}-{number(point.upper_ml)} ml), not measured"
    )
    volume = measurement(
        codes.FORECAST_MEDIAN,
        point.median_ml,
        codes.CUBIC_CENTIMETRE,
        algorithm(forecast.model, [f"calibration {plain(forecast.calibration_id)}"]),
        derivation=codes.ESTIMATED,
        uncertainty=[
            (codes.UPPER_UNCERTAINTY, point.upper_ml - point.median_ml),
            (codes.LOWER_UNCERTAINTY, point.median_ml - point.lower_ml),
        ],
        inferred_from=[
            Inferred(codes.NOMINAL_COVERAGE, coverage, codes.PERCENT),
            Inferred(codes.FORECAST_START, forecast.last_observed_ml, codes.CUBIC_CENTIMETRE),
        ],
        meaning=meaning,
    )
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=forecast.tracking_uid, identifier=f"all lesions {appearance.label} FORECAST"
        ),
        time_point_context=TimePointContext(
            time_point=f"Forecast +{point.horizon_days} d",
            time_point_order=result.timepoint.order + step,
            temporal_offset_from_event=LongitudinalTemporalOffsetFromEvent(
                value=point.horizon_days, unit=codes.DAY, event_type=codes.CURRENT_STUDY
            ),
        ),
        finding_type=appearance.property_type,
        finding_sites=[brain()],
        measurements=[volume],
        qualitative_evaluations=[evaluation(codes.VALUE_STATUS, codes.FORECAST_NOT_MEASURED)],
    )
