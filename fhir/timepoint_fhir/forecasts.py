"""FHIR R4 Observations of a forecast, built so that nobody takes them for measurements.

Own code and category, status preliminary, no `value[x]` at all (median and interval are components with own codes),
`effective` is the index study, and `derivedFrom` names the observed volumes that the forecast starts from.
"""

from __future__ import annotations

import datetime as dt

from longitudinal.types import Forecast, ForecastPoint
from timepoint_fhir import codes
from timepoint_fhir.datatypes import Json, absent, days, millilitres, percent
from timepoint_fhir.observations import LesionObservations
from timepoint_fhir.publication import Publication, Resource

CAUTION = "Forecast by a statistical model; not a measurement and not a finding of the study."


def forecast_observations(
    publication: Publication, forecast: Forecast, measured: list[LesionObservations], device: Resource
) -> list[Resource]:
    """One Observation for each horizon, or one that says why there is no forecast."""
    if forecast.abstained is not None:
        return [_abstention(publication, forecast, forecast.abstained, measured, device)]
    return [_point(publication, forecast, point, measured, device) for point in forecast.points]


def _point(
    publication: Publication,
    forecast: Forecast,
    point: ForecastPoint,
    measured: list[LesionObservations],
    device: Resource,
) -> Resource:
    text = f"Forecast tumor volume in {point.horizon_days} days (not a measurement)"
    return _observation(
        publication,
        forecast,
        measured,
        device,
        f"{point.horizon_days}",
        code=publication.terms.concept(codes.FORECAST, text=text),
        component=[*_prediction(publication, point), *_model(publication, forecast)],
    )


def _prediction(publication: Publication, point: ForecastPoint) -> list[Json]:
    terms = publication.terms
    date = publication.result.timepoint.acquired + dt.timedelta(days=point.horizon_days)
    return [
        terms.component(codes.FORECAST_MEDIAN, valueQuantity=millilitres(point.median_ml)),
        terms.component(codes.FORECAST_LOWER, valueQuantity=millilitres(point.lower_ml)),
        terms.component(codes.FORECAST_UPPER, valueQuantity=millilitres(point.upper_ml)),
        terms.component(codes.COVERAGE, valueQuantity=percent(point.coverage)),
        terms.component(codes.FORECAST_HORIZON, valueQuantity=days(point.horizon_days)),
        terms.component(codes.FORECAST_DATE, valueDateTime=date.isoformat()),
    ]


def _model(publication: Publication, forecast: Forecast) -> list[Json]:
    terms = publication.terms
    model = f"{forecast.model.name} {forecast.model.version}"
    status = terms.concept(codes.FORECAST_NOT_MEASURED)
    return [
        terms.component(codes.VALUE_STATUS, valueCodeableConcept=status),
        terms.component(codes.REGION, valueCodeableConcept=terms.concept(codes.REGIONS[forecast.region])),
        terms.component(codes.FORECAST_START, valueQuantity=millilitres(forecast.last_observed_ml)),
        terms.component(codes.FORECAST_MODEL, valueString=model),
        terms.component(codes.CALIBRATION, valueString=forecast.calibration_id),
    ]


def _abstention(
    publication: Publication, forecast: Forecast, why: str, measured: list[LesionObservations], device: Resource
) -> Resource:
    return _observation(
        publication,
        forecast,
        measured,
        device,
        "abstained",
        code=publication.terms.concept(codes.FORECAST),
        dataAbsentReason=absent(codes.NOT_PERFORMED, why),
    )


def _observation(
    publication: Publication,
    forecast: Forecast,
    measured: list[LesionObservations],
    device: Resource,
    part: str,
    **body: object,
) -> Resource:
    sources = [lesion.volumes[forecast.region].reference() for lesion in measured] or [publication.study()]
    return publication.observation(
        publication.observation_uuid("forecast", forecast.tracking_uid, forecast.region.value, part),
        device,
        "preliminary",
        category=[publication.terms.concept(codes.FORECAST_CATEGORY)],
        note=[{"text": CAUTION}],
        derivedFrom=sources,
        **body,
    )
