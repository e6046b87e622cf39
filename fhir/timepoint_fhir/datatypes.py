"""FHIR datatypes as JSON: CodeableConcept, Coding, Quantity, Reference, component."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from timepoint_fhir.codes import ABSENT_REASON, UCUM, Code

Json = dict[str, Any]

VOLUME_DECIMALS = 4
"""0.0001 ml is a tenth of a cubic millimetre, far below one voxel."""


class Terminology:
    """Turns codes into Codings; own codes take the code system that the site publishes them under."""

    def __init__(self, own_system: str) -> None:
        self.own_system = own_system

    def coding(self, code: Code) -> Json:
        return {"system": code.system or self.own_system, "code": code.value, "display": code.display}

    def concept(self, *codes: Code, text: str | None = None) -> Json:
        """A CodeableConcept: the codes from the most to the least specific, and a text for people."""
        body: Json = {"coding": [self.coding(code) for code in codes]} if codes else {}
        if text or codes:
            body["text"] = text or codes[0].display
        return body

    def component(self, code: Code, **value: Any) -> Json:
        """An Observation component of `code` with the given `value[x]` or `dataAbsentReason`."""
        return {"code": self.concept(code), **value}


def quantity(value: float, unit: str, code: str, decimals: int = VOLUME_DECIMALS) -> Json:
    """A Quantity in a UCUM unit. Raises ValueError for a value that is not finite, which JSON cannot carry."""
    if not math.isfinite(value):
        raise ValueError(f"a quantity in {unit} is not a finite number")
    return {"value": round(float(value), decimals) + 0.0, "unit": unit, "system": UCUM, "code": code}


def millilitres(value: float) -> Json:
    return quantity(value, "mL", "mL")


def millimetres(value: float) -> Json:
    return quantity(value, "mm", "mm", decimals=3)


def days(value: int) -> Json:
    return quantity(value, "d", "d", decimals=0)


def percent(fraction: float) -> Json:
    return quantity(100.0 * fraction, "%", "%", decimals=2)


def absent(reason: Code, text: str) -> Json:
    """A dataAbsentReason (obs-6: only where there is no value)."""
    return {"coding": [{"system": ABSENT_REASON, "code": reason.value, "display": reason.display}], "text": text}


def date_time(value: dt.datetime | dt.date) -> str:
    """A FHIR dateTime: with zone from an aware datetime, a date alone from a date."""
    if isinstance(value, dt.datetime):
        return value.isoformat(timespec="seconds")
    return value.isoformat()


def literal(reference: str, display: str | None = None) -> Json:
    return {"reference": reference} | ({"display": display} if display else {})


def logical(identifier: Json, kind: str | None = None, display: str | None = None) -> Json:
    """A logical reference (R4 2.3.0.3): the identifier of a resource that the server need not hold."""
    body: Json = {"type": kind} if kind else {}
    body["identifier"] = identifier
    return body | ({"display": display} if display else {})
