"""From the record to a history: no calendar dates, features of the schema, decided before started."""

from __future__ import annotations

import datetime as dt
import json
import math
import re

import pytest

from longitudinal.histories import Histories, Source, decode, encode
from longitudinal.patient_history import (
    HistoryContext,
    NoHistoryError,
    ScanProvenance,
    TreatmentEvent,
    patient_from_record,
)
from longitudinal.record import ObservedTimePoint, build_record
from longitudinal.types import Compartment, LesionMeasurement, Region, TumourType

DAY0 = dt.date(2024, 3, 1)


def lesion(et: float, ncr: float, snfh: float, longest_mm: float, sphericity: float = 0.7) -> LesionMeasurement:
    volumes = {
        Region.WHOLE: et + ncr + snfh,
        Region.CORE: et + ncr,
        Region.ENHANCING: et,
        Region.OEDEMA: snfh,
    }
    return LesionMeasurement(
        index=1,
        volumes_ml=volumes,
        volume_sd_ml={region: 0.1 * ml for region, ml in volumes.items()},
        compartments_ml={
            Compartment.ENHANCING: et,
            Compartment.NECROTIC: ncr,
            Compartment.OEDEMA: snfh,
            Compartment.CAVITY: 0.5,
        },
        centroid=(0.0, 0.0, 0.0),
        longest=None,
        perpendicular=None,
        diameter_sop_instance_uid=None,
        max_3d_diameter_mm=longest_mm,
        surface_area_mm2=100.0,
        sphericity=sphericity,
    )


def points() -> list[ObservedTimePoint]:
    big, small = lesion(8.0, 2.0, 30.0, 35.0, 0.6), lesion(1.0, 0.0, 2.0, 12.0, 0.9)
    return [
        ObservedTimePoint("1.2.1", DAY0, {"a": big, "b": small}),
        ObservedTimePoint("1.2.2", DAY0 + dt.timedelta(40), {"a": big, "b": small}, evaluable=False),
        ObservedTimePoint("1.2.3", DAY0 + dt.timedelta(91), {"a": lesion(4.0, 0.0, 10.0, 20.0), "b": None}),
    ]


RT = TreatmentEvent("rt", DAY0 + dt.timedelta(20), DAY0 + dt.timedelta(60), decided=DAY0 - dt.timedelta(3))
CHEMO = TreatmentEvent("chemo", DAY0 + dt.timedelta(80))


def test_scans_are_days_from_the_first_and_features_follow_the_schema() -> None:
    record = build_record(points(), Region.CORE)
    context = HistoryContext(
        "p-1", TumourType.GBM, (RT, CHEMO), provenance={"1.2.3": ScanProvenance("s1", "sha256:ab", "warn")}
    )
    patient = patient_from_record(record, context)
    assert [scan.t for scan in patient.scans] == [0, 91]
    first, second = patient.scans
    assert first.target_cc == 11.0
    assert first.features == pytest.approx(
        (math.log(11), 9 / 43, 2 / 11, math.log1p(32), 3.5, 0.6, 0, 0, 0, 2), abs=1e-9
    )
    assert second.features == pytest.approx(
        (math.log(4), 4 / 14, 0, math.log1p(10), 2.0, 0.7, 91 / 365.25, 91 / 91.3125, 0.75, 30 / 365.25), abs=1e-9
    )
    assert second.target_sd_ln == pytest.approx(math.hypot(0.4, 0.1 / 1.959964) / 4.0, rel=1e-6)
    assert (second.quality.qc, second.seg_model) == ("warn", "sha256:ab")
    assert [(t.kind, t.decided, t.start, t.stop) for t in patient.treatments] == [
        ("rt", -3, 20, 60),
        ("chemo", 80, 80, None),
    ]


def test_no_calendar_date_and_no_study_uid_leaves() -> None:
    record = build_record(points(), Region.CORE)
    patient = patient_from_record(record, HistoryContext("p-1", TumourType.GBM, (RT, CHEMO)))
    data = encode(Histories(source=Source(kind="site-export", site="x"), patients=(patient,)))
    assert decode(data).patients[0].pid == "p-1"
    text = data.decode()
    assert not re.search(r"20\d\d-\d\d", text)
    assert "1.2." not in json.dumps([p["pid"] for p in json.loads(text)["patients"]])
    assert "1.2.3" not in text


def test_a_record_of_another_region_is_refused() -> None:
    record = build_record(points(), Region.CORE)
    with pytest.raises(NoHistoryError, match="ASTRO is followed by whole"):
        patient_from_record(record, HistoryContext("p-1", TumourType.ASTROCYTOMA))


def test_a_record_without_evaluable_time_points_has_no_history() -> None:
    record = build_record([points()[1]], Region.CORE)
    with pytest.raises(NoHistoryError, match="no time point"):
        patient_from_record(record, HistoryContext("p-1", TumourType.GBM))
