"""The forecaster as the gateway calls it: causal, honest about its limits, the same whatever else is asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.forecast import Forecaster, ForecastModel, ForecastModelError
from inference.forecast.arrays import arrays_of
from inference.forecast.queries import Queries
from inference.model_folder import ModelFolderError
from longitudinal.histories import Patient, Quality, Treatment
from longitudinal.types import Region, TumourType
from training.simulate.histories import SimulatedHistories

HORIZONS = (30, 91, 182, 365)


@pytest.fixture(scope="module")
def forecaster(small_model: ForecastModel) -> Forecaster:
    return Forecaster(small_model)


@pytest.fixture(scope="module")
def patients(fresh: SimulatedHistories) -> tuple[Patient, ...]:
    usable = [p for p in fresh.histories.patients if p.scans[-1].target_cc > 1]
    return tuple(p.model_copy(update={"treatments": ()}) for p in usable[:20])


def first_scans(patient: Patient, number: int) -> Patient:
    return patient.model_copy(update={"scans": patient.scans[:number]})


def test_points_are_ordered_named_and_cover(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    for patient in patients:
        found = forecaster.forecast(patient, HORIZONS, tracking_uid="1.2.3")
        assert found.abstained is None
        assert [p.horizon_days for p in found.points] == list(HORIZONS)
        assert all(0 <= p.lower_ml < p.median_ml < p.upper_ml for p in found.points)
        widths = [np.log(p.upper_ml / p.median_ml) for p in found.points]
        assert (np.diff(widths) >= -1e-9).all(), "equal widths may differ in the last bit of their logarithm"
        assert found.region is patient.tumour_type.target
        assert found.last_observed_ml == patient.scans[-1].target_cc
        assert found.calibration_id == forecaster.model.calibration.id
        assert len(found.model.weights_sha256) == 64


def test_one_scan_is_enough(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    for patient in patients:
        found = forecaster.forecast(first_scans(patient, 1), (91,), tracking_uid="1.2.3")
        assert len(found.points) == 1


def test_a_horizon_does_not_depend_on_what_else_is_asked(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    together = forecaster.forecast(patients[0], HORIZONS, tracking_uid="1.2.3")
    alone = forecaster.forecast(patients[0], (182,), tracking_uid="1.2.3")
    assert alone.points[0] == together.points[2]


def test_nothing_after_the_origin_can_be_seen(small_model: ForecastModel, fresh: SimulatedHistories) -> None:
    """Forecasts from the third scan are the same bits whatever comes after it."""
    patients = fresh.histories.patients[:40]
    arrays = arrays_of(patients)
    rng = np.random.default_rng(3)
    for values in (arrays.volume_ml, arrays.sd_ln, arrays.features):
        values[:, 3:] = rng.uniform(0.1, 9, values[:, 3:].shape)
    untouched = arrays_of(patients)
    rows = np.repeat(np.arange(40), 2)
    queries = Queries(rows, np.full(80, 2), np.tile([91.0, 365.0], 40))
    np.testing.assert_array_equal(
        small_model.quantiles_ml(arrays, queries), small_model.quantiles_ml(untouched, queries)
    )


def test_treatment_counts_only_once_it_is_decided(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    patient = next(p for p in patients if p.tumour_type is TumourType.GBM)
    last = patient.scans[-1].t

    def with_rt(decided: int) -> Patient:
        rt = Treatment(kind="rt", decided=decided, start=last + 20, stop=last + 60, planned=True)
        return patient.model_copy(update={"treatments": (rt,)})

    plain = forecaster.forecast(patient, HORIZONS, tracking_uid="1.2.3")
    undecided = forecaster.forecast(with_rt(last + 1), HORIZONS, tracking_uid="1.2.3")
    decided = forecaster.forecast(with_rt(last), HORIZONS, tracking_uid="1.2.3")
    assert undecided.points == plain.points
    assert decided.points[2].median_ml < plain.points[2].median_ml


def test_abstains_in_a_sentence(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    patient = patients[0]
    last = patient.scans[-1]

    def ask(changed: Patient, horizons: tuple[int, ...] = HORIZONS) -> str:
        found = forecaster.forecast(changed, horizons, tracking_uid="1.2.3")
        assert found.points == ()
        assert found.abstained is not None
        return found.abstained

    def with_last(**update: object) -> Patient:
        return patient.model_copy(update={"scans": (*patient.scans[:-1], last.model_copy(update=update))})

    assert "No tumour was measured" in ask(with_last(target_cc=0.0))
    assert "above the 200 ml" in ask(with_last(target_cc=250.0))
    assert "outside the range" in ask(with_last(features=(*last.features[:4], 45.0, *last.features[5:])))
    assert "Forecasts reach 411 days" in ask(patient, (500,))
    assert "No horizon" in ask(patient, ())
    failed = tuple(s.model_copy(update={"quality": Quality(qc="fail")}) for s in patient.scans)
    assert "quality control" in ask(patient.model_copy(update={"scans": failed}))
    surgery = Treatment(kind="surgery", decided=last.t, start=last.t + 10, stop=last.t + 10, planned=True)
    assert "resection is planned" in ask(patient.model_copy(update={"treatments": (surgery,)}))


def test_horizons_before_a_planned_resection_are_still_forecast(
    forecaster: Forecaster, patients: tuple[Patient, ...]
) -> None:
    last = patients[0].scans[-1].t
    surgery = Treatment(kind="surgery", decided=last, start=last + 100, stop=last + 100, planned=True)
    found = forecaster.forecast(
        patients[0].model_copy(update={"treatments": (surgery,)}), HORIZONS, tracking_uid="1.2.3"
    )
    assert [p.horizon_days for p in found.points] == [30, 91]


def test_a_failed_scan_is_left_out(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    patient = patients[0]
    spoilt = patient.scans[1].model_copy(update={"quality": Quality(qc="fail"), "target_cc": 140.0})
    kept = forecaster.forecast(
        patient.model_copy(update={"scans": (patient.scans[0], *patient.scans[2:])}), (91,), tracking_uid="1.2.3"
    )
    found = forecaster.forecast(
        patient.model_copy(update={"scans": (patient.scans[0], spoilt, *patient.scans[2:])}),
        (91,),
        tracking_uid="1.2.3",
    )
    assert found.points == kept.points


def test_wrong_use_is_refused(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        forecaster.forecast(patients[0], (0,), tracking_uid="1.2.3")
    with pytest.raises(ValueError, match="is followed and forecast by"):
        forecaster.forecast(patients[0], (30,), tracking_uid="1.2.3", region=Region.OEDEMA)


def test_threads_of_others_are_left_alone(forecaster: Forecaster, patients: tuple[Patient, ...]) -> None:
    before = torch.get_num_threads()
    forecaster.forecast(patients[0], (91,), tracking_uid="1.2.3")
    assert torch.get_num_threads() == before


def test_a_damaged_or_foreign_model_is_refused(small_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m"
    shutil.copytree(small_folder, copy)
    card = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps({**card, "feature_schema": "tgf-10/2"}))
    with pytest.raises(ForecastModelError, match="feature_schema is tgf-10/2, this version reads tgf-10/1"):
        Forecaster.load(copy)
    (copy / "model.json").write_text(json.dumps({**card, "architecture": {**card["architecture"], "hidden": 12}}))
    with pytest.raises(ForecastModelError, match="do not fit together"):
        Forecaster.load(copy)
    (copy / "model.json").write_text(json.dumps(card))
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-1] + b"\x07")
    with pytest.raises(ModelFolderError, match="damaged"):
        Forecaster.load(copy)
