"""What the viewers are given: voxels where they belong in the patient, surfaces that keep their volume, forecasts with
their scores."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import trimesh
from starlette.testclient import TestClient
from web.analysed_patient import CENTRE, MARKER, PATIENT, RADII_MM

from gateway.context import Gateway
from gateway.stages.deidentification import research_study
from gateway.viewing.surfaces import LARGEST_ERROR, surface_of

STUDIES = ("s1", "s2", "s3")


def _brightest(values: np.ndarray, affine: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    index = np.array(np.nonzero(values > 0.9 * values.max())).mean(axis=1)
    return np.asarray(affine[:3, :3] @ index + affine[:3, 3])


@pytest.mark.parametrize("study", STUDIES)
def test_the_marker_is_left_front_top_in_every_study_however_it_was_acquired(client: TestClient, study: str) -> None:
    grid = client.get(f"/api/v1/studies/{study}/volume").json()["grid"]
    answer = client.get(f"/api/v1/studies/{study}/volume/t1c")
    values = np.frombuffer(answer.content, "<i2").reshape(grid["shape"])
    place = _brightest(values, np.array(grid["affine_lps"]))
    assert np.abs(place - MARKER).max() < 1.5  # half a slice
    assert float(answer.headers["Timepoint-Slope"]) * values.max() > 2000


def test_the_turned_study_lies_elsewhere_on_its_own_grid(client: TestClient) -> None:
    packed = client.get("/api/v1/studies/s2/volume/t1c?space=native&format=nifti").content
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(packed))
    ras = _brightest(np.asarray(image.dataobj), image.affine)
    assert np.abs(ras * [-1, -1, 1] - MARKER).max() > 4


def test_slices_come_by_range_and_a_second_visit_costs_nothing(client: TestClient) -> None:
    path = "/api/v1/studies/s1/volume/t1c"
    whole = client.get(path)
    part = client.get(path, headers={"Range": "bytes=1000-1999"})
    assert part.status_code == 206
    assert part.content == whole.content[1000:2000]
    again = client.get(path, headers={"If-None-Match": whole.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_masks_overlap_after_registration(client: TestClient) -> None:
    shape = client.get("/api/v1/studies/s1/volume").json()["grid"]["shape"]
    masks = [
        np.frombuffer(client.get(f"/api/v1/studies/{s}/masks").content, np.uint8).reshape(shape) > 0 for s in STUDIES
    ]
    assert (masks[0] & masks[1]).sum() / masks[0].sum() > 0.97  # the smaller one lies within the larger one
    assert (masks[1] & masks[2]).sum() / masks[1].sum() > 0.97


def test_surfaces_keep_the_volume_and_the_place(client: TestClient) -> None:
    lines = client.get("/api/v1/studies/s2/meshes").json()
    assert {line["part"] for line in lines} == {"brain", "whole", "core", "enhancing", "oedema", "necrotic"}
    assert max(abs(line["error"]) for line in lines) <= LARGEST_ERROR
    whole = next(line for line in lines if line["part"] == "whole")
    assert whole["voxel_ml"] == pytest.approx(4.18879e-3 * RADII_MM[1] ** 3, rel=0.03)
    stl = trimesh.load(io.BytesIO(client.get("/api/v1/studies/s2/meshes/whole?format=stl").content), file_type="stl")
    assert stl.is_watertight
    assert np.abs(stl.center_mass - CENTRE).max() < 1.0
    assert stl.volume / 1000 == pytest.approx(whole["mesh_ml"], rel=1e-3)
    glb = trimesh.load(io.BytesIO(client.get("/api/v1/studies/s2/meshes/whole").content), file_type="glb")
    left, head, front = glb.to_geometry().center_mass * 1000
    assert np.abs(np.array([left, -front, head]) - CENTRE).max() < 1.0


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.9, 0.9)])
@pytest.mark.parametrize("radius_mm", [2.5, 6.0, 18.0])
def test_smoothing_does_not_eat_small_lesions(spacing: tuple[float, float, float], radius_mm: float) -> None:
    index = np.indices((24, 50, 50)) - np.array([12, 25, 25]).reshape(3, 1, 1, 1)
    distance = np.linalg.norm(index * np.reshape(spacing, (3, 1, 1, 1)), axis=0)
    surface = surface_of(distance < radius_mm, np.diag([*spacing, 1.0]))
    assert surface is not None
    assert abs(surface.error) <= LARGEST_ERROR


def test_a_part_that_is_not_there_is_told(client: TestClient) -> None:
    for part, said in (("cavity", "no voxel"), ("tail", "there are")):
        answer = client.get(f"/api/v1/studies/s1/meshes/{part}")
        assert answer.status_code == 404
        assert said in answer.json()["detail"]
    assert client.get("/api/v1/studies/s1/volume/t2w").status_code == 404
    assert client.get("/api/v1/studies/s9/volume").status_code == 404


def _shape(client: TestClient, day: int, bound: str = "median") -> tuple[float, bool]:
    answer = client.get(f"/api/v1/patients/{PATIENT}/shape?day={day}&bound={bound}&format=stl")
    assert answer.status_code == 200, answer.text
    mesh = trimesh.load(io.BytesIO(answer.content), file_type="stl")
    stated = float(answer.headers["Timepoint-Volume-Ml"])
    assert mesh.volume / 1000 == pytest.approx(stated, rel=LARGEST_ERROR)
    return stated, answer.headers["Timepoint-Forecast"] == "true"


def test_the_shape_goes_through_the_measured_volumes_and_into_the_forecast(client: TestClient) -> None:
    history = client.get(f"/api/v1/patients/{PATIENT}/history").json()
    results = [s["result"] for s in history["studies"]]
    days = [r["timepoint"]["days_from_baseline"] for r in results]
    volumes = [r["lesions"][0]["measurement"]["volumes_ml"]["whole"] for r in results]
    for day, volume in zip(days, volumes, strict=True):
        assert _shape(client, day) == (pytest.approx(volume, rel=0.01), False)
    between, _ = _shape(client, (days[0] + days[1]) // 2)
    assert volumes[0] < between < volumes[1]
    last = results[-1]["forecast"]["points"][-1]
    at_end = days[-1] + last["horizon_days"]
    for bound in ("lower", "median", "upper"):
        assert _shape(client, at_end, bound) == (pytest.approx(last[f"{bound}_ml"], rel=0.01), True)
    assert client.get(f"/api/v1/patients/{PATIENT}/shape?day={at_end + 1}").status_code == 409


def test_past_forecasts_are_scored_against_what_was_measured(client: TestClient) -> None:
    first, second, last = client.get(f"/api/v1/patients/{PATIENT}/forecasts").json()
    assert [s["study_key"] for s in first["scores"]] == ["s2", "s3"]
    assert [s["study_key"] for s in second["scores"]] == ["s3"]
    assert last["scores"] == []
    for score in first["scores"] + second["scores"]:
        assert score["inside"] == (score["lower_ml"] <= score["observed_ml"] <= score["upper_ml"])
    ninety = next(p for p in second["points"] if p["horizon_days"] == 90)
    (score,) = second["scores"]
    share = score["interval_days"] / 90
    read = second["last_observed_ml"] ** (1 - share) * ninety["median_ml"] ** share
    assert score["median_ml"] == pytest.approx(read), "on a straight line in ln volume"


def test_reading_is_audited_and_named_by_our_keys(client: TestClient) -> None:
    client.get("/api/v1/studies/s3/volume")
    links = client.get("/api/v1/audit?limit=5").json()
    assert ("study.view", "s3") in [(link["action"], link["subject"]) for link in links]
    assert "A-1" not in json.dumps(links)


def test_what_was_made_for_display_goes_with_the_images(analysed: Gateway, client: TestClient) -> None:
    client.get("/api/v1/studies/s3/volume/t2f")
    made: Path = research_study(analysed, "s3", 1)
    assert list(made.glob("display/t2f-*"))
    everything_else = [p for p in analysed.research_folder.rglob("t2f-*") if made not in p.parents]
    assert all("s3" not in str(p) for p in everything_else)
