"""The domain's dataclasses as JSON for the database and back, by pydantic."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from longitudinal.record import RecordedTimePoint
from longitudinal.types import AlgorithmIdentity, Forecast, LesionMeasurement, StudyResult

_MEASUREMENT = TypeAdapter(LesionMeasurement)
_FORECAST = TypeAdapter(Forecast)
_RECORDED = TypeAdapter(RecordedTimePoint)
_RESULT = TypeAdapter(StudyResult)
_IDENTITY = TypeAdapter(AlgorithmIdentity)


def measurement_to_json(value: LesionMeasurement) -> dict[str, Any]:
    return dict(_MEASUREMENT.dump_python(value, mode="json"))


def measurement_from_json(value: dict[str, Any]) -> LesionMeasurement:
    return _MEASUREMENT.validate_python(value)


def forecast_to_json(value: Forecast) -> dict[str, Any]:
    return dict(_FORECAST.dump_python(value, mode="json"))


def forecast_from_json(value: dict[str, Any]) -> Forecast:
    return _FORECAST.validate_python(value)


def identity_to_json(value: AlgorithmIdentity) -> dict[str, Any]:
    return dict(_IDENTITY.dump_python(value, mode="json"))


def identity_from_json(value: dict[str, Any]) -> AlgorithmIdentity:
    return _IDENTITY.validate_python(value)


def result_to_json(value: StudyResult) -> dict[str, Any]:
    return dict(_RESULT.dump_python(value, mode="json"))


def fold_digest(point: RecordedTimePoint, known: Mapping[str, Any]) -> str:
    """Hash of everything that the record says of a time point, and of what was `known` beside the images on that day:
    another value means that its results changed."""
    plain = _RECORDED.dump_python(point, mode="json") | ({"known": known} if known else {})
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
