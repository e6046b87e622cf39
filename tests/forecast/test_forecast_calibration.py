"""Calibration: coverage where it was off, widths that never fall, one table however it is stored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as np_arrays

from inference.forecast.arrays import TUMOUR_TYPES, arrays_of
from inference.forecast.calibration import (
    GRID_DAYS,
    HORIZON_BINS,
    Calibration,
    at_horizon,
    horizon_bin,
    never_narrower,
)
from inference.forecast.model import ForecastModel
from training.forecast.conformal import calibrate
from training.forecast.windows import windows_of
from training.simulate.histories import SimulatedHistories, simulate_histories

GRID = st.integers(0, 2**32 - 1).map(
    lambda seed: np.sort(np.random.default_rng(seed).normal(2, 1, (4, len(GRID_DAYS), 7)), axis=2)
)


@settings(max_examples=60, deadline=None)
@given(
    grid=GRID,
    factors=np_arrays(float, (len(TUMOUR_TYPES), len(HORIZON_BINS)), elements=st.floats(0.3, 3.0)),
)
def test_calibrated_quantiles_never_cross_and_never_narrow(grid: np.ndarray, factors: np.ndarray) -> None:
    found = Calibration(factors).apply(grid, np.array([0, 1, 2, 5]))
    assert (np.diff(found, axis=2) >= -1e-12).all()
    assert (np.diff(found[..., -1] - found[..., 0], axis=1) >= -1e-12).all()
    np.testing.assert_array_equal(found[..., 3], grid[..., 3])


def test_interpolation_meets_the_grid() -> None:
    grid = np.arange(2 * len(GRID_DAYS) * 7, dtype=float).reshape(2, len(GRID_DAYS), 7)
    np.testing.assert_allclose(at_horizon(grid, np.array([7.0, 90.0]))[0], grid[0, 0])
    np.testing.assert_allclose(at_horizon(grid, np.array([7.0, 90.0]))[1], grid[1, 3])
    middle = at_horizon(grid[:1], np.array([45.0]))
    np.testing.assert_allclose(middle[0], (grid[0, 1] + grid[0, 2]) / 2)


def test_horizon_bins() -> None:
    assert horizon_bin(np.array([7.0, 44.0, 45.0, 137.0, 229.0, 411.0])).tolist() == [0, 0, 1, 2, 3, 3]


def test_json_round_trip_and_identity() -> None:
    calibration = Calibration(np.linspace(0.5, 1.5, 28).reshape(7, 4))
    again = Calibration.from_json(calibration.to_json())
    assert again.id == calibration.id
    assert again.id != Calibration.none().id
    np.testing.assert_allclose(again.factors, calibration.factors, rtol=1e-5)


@pytest.mark.parametrize("squeeze", [0.4, 2.0])
def test_wrong_widths_are_put_right(small_model: ForecastModel, fresh: SimulatedHistories, squeeze: float) -> None:
    class Squeezed(ForecastModel):
        def raw_grid(self, *args):  # type: ignore[no-untyped-def]
            grid: np.ndarray = super().raw_grid(*args)
            median = grid[..., 3:4]
            return median + squeeze * (grid - median)

    fields = {f.name: getattr(small_model, f.name) for f in dataclasses.fields(small_model)}
    wrong = Squeezed(**{**fields, "calibration": Calibration.none()})
    other = simulate_histories(500, seed=77).histories
    arrays = arrays_of(other.patients)
    windows = windows_of(arrays)
    right = dataclasses.replace(wrong, calibration=calibrate(wrong, arrays, windows.where(~windows.surgery), 0.9))

    # Coverage of 150 patients alone varies by two points: four hundred more are held against it.
    test_arrays = arrays_of((*fresh.histories.patients, *simulate_histories(400, seed=78).histories.patients))
    test_windows = windows_of(test_arrays)
    test_windows = test_windows.where(~test_windows.surgery)

    def coverage(model: ForecastModel) -> float:
        q = model.quantiles_ml(test_arrays, test_windows.queries)
        return float(((test_windows.measured_ml >= q[:, 0]) & (test_windows.measured_ml <= q[:, -1])).mean())

    assert abs(coverage(wrong) - 0.9) > 0.05
    assert coverage(right) == pytest.approx(0.9, abs=0.03)


def test_offsets_keep_their_side() -> None:
    offset = np.array([[[-2.0, 0.0, 1.0], [-1.0, 0.0, 3.0], [-4.0, 0.0, 2.0]]])
    assert never_narrower(offset).tolist() == [[[-2.0, 0.0, 1.0], [-2.0, 0.0, 3.0], [-4.0, 0.0, 3.0]]]
