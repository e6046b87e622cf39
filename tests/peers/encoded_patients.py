"""Encoded studies of simulated patients and real cases, from masks that are known: the encoder without a network.

Every study is measured, recorded, forecast and encoded by the product's own code; only the segmentation is given.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from highdicom import Volume
from pydicom import Dataset

from inference.encoding import EncodedStudy, encode_study
from inference.encoding.identity import deterministic_uid
from inference.forecast.forecaster import Forecaster
from inference.lesions import LesionMap, find_lesions
from inference.measurement import measure_lesions
from inference.nifti_files import read_nifti
from inference.resampling import with_geometry
from inference.volumes import load_volume
from longitudinal.patient_history import HistoryContext, patient_from_record
from longitudinal.record import ObservedTimePoint, Record, build_record
from longitudinal.types import AlgorithmIdentity, Contrast, Forecast, LesionMeasurement, StudyResult, TumourType
from training.simulate.protocol import StudySize
from training.simulate.scan import LesionTruth
from training.simulate.studies import StudyTruth, simulate_studies

GIVEN = AlgorithmIdentity("given masks", "1.0.0", "ab" * 32)
CREATED = dt.datetime(2026, 3, 2, 14, 5, 9, tzinfo=dt.UTC)
HORIZONS_DAYS = (90, 180, 365)


@dataclass(frozen=True)
class KnownStudy:
    """A study with its true masks on the grid of its T1c series: files by contrast, and how lesions are tracked."""

    study_instance_uid: str
    acquired: dt.date
    files: dict[Contrast, list[Path]]
    found: LesionMap
    measurements: dict[str, LesionMeasurement]

    def headers(self) -> dict[Contrast, list[Dataset]]:
        return {
            contrast: [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
            for contrast, files in self.files.items()
        }


@dataclass(frozen=True)
class EncodedTimePoint:
    """What was encoded of a study, and from what."""

    study: KnownStudy
    result: StudyResult
    encoded: EncodedStudy
    record: Record

    def save(self, folder: Path) -> dict[str, Path]:
        """Write the objects; file by name (seg, sr, diameter-sr, forecast-sr)."""
        folder.mkdir(parents=True, exist_ok=True)
        made = self.encoded
        named = {
            "seg": made.segmentation,
            "sr": made.report,
            "diameter-sr": made.diameters,
            "forecast-sr": made.forecast,
        }
        files = {}
        for name, dataset in named.items():
            if dataset is not None:
                files[name] = folder / f"{name}.dcm"
                dataset.save_as(files[name], enforce_file_format=True)
        return files


def simulated_patients(
    folder: Path, patients: int, timepoints: int, seed: int = 11, size: StudySize = StudySize.SMALL
) -> Iterator[list[EncodedTimePoint]]:
    """Simulate patients and encode every study; one list of time points for each patient."""
    truths = simulate_studies(patients, timepoints, seed=seed, out=folder, size=size)
    for patient_id in dict.fromkeys(truth.patient_id for truth in truths):
        own = [truth for truth in truths if truth.patient_id == patient_id]
        yield encoded_patient([_known(folder, truth) for truth in own], own[0].tumour_type)


def encoded_patient(studies: Sequence[KnownStudy], kind: TumourType) -> list[EncodedTimePoint]:
    """Record, forecast and encode the studies of one patient."""
    tracked = {uid for study in studies for uid in study.measurements}
    observed = [
        ObservedTimePoint(s.study_instance_uid, s.acquired, {uid: s.measurements.get(uid) for uid in _seen(studies, s)})
        for s in studies
    ]
    names = {uid: f"Lesion {number}" for number, uid in enumerate(sorted(tracked), 1)}
    forecaster = Forecaster.load()
    return [
        _encode(study, build_record(observed[: place + 1], kind.target, tracking_ids=names), kind, forecaster)
        for place, study in enumerate(studies)
    ]


def _seen(studies: Sequence[KnownStudy], until: KnownStudy) -> set[str]:
    known = set()
    for study in studies:
        known |= set(study.measurements)
        if study is until:
            break
    return known


def _encode(study: KnownStudy, record: Record, kind: TumourType, forecaster: Forecaster) -> EncodedTimePoint:
    point = record.at(study.study_instance_uid)
    result = StudyResult(
        study_instance_uid=study.study_instance_uid,
        revision=1,
        timepoint=point.context,
        lesions=point.lesions,
        response=point.response,
        target=record.target,
        forecast=_forecast(record, kind, forecaster),
        segmentation=GIVEN,
    )
    encoded = encode_study(result, study.found.labels, study.found.lesions, study.headers(), Contrast.T1C, CREATED)
    return EncodedTimePoint(study, result, encoded, record)


def _forecast(record: Record, kind: TumourType, forecaster: Forecaster) -> Forecast:
    history = patient_from_record(record, HistoryContext(pid="P1", tumour_type=kind))
    return forecaster.forecast(
        history, HORIZONS_DAYS, tracking_uid=deterministic_uid("burden", "P1"), region=record.target
    )


def _known(folder: Path, truth: StudyTruth) -> KnownStudy:
    study = folder / truth.folder
    files = {contrast: sorted((study / contrast.value).glob("*.dcm")) for contrast in Contrast}
    labels = read_nifti(folder / truth.labels)
    return known_study(
        truth.study_instance_uid,
        truth.acquired,
        {contrast: paths for contrast, paths in files.items() if paths},
        labels,
        {deterministic_uid("lesion", truth.patient_id, str(lesion.index)): lesion for lesion in truth.lesions},
    )


def known_study(
    study_instance_uid: str,
    acquired: dt.date,
    files: dict[Contrast, list[Path]],
    labels: Volume,
    tracked: dict[str, LesionTruth] | str,
) -> KnownStudy:
    """A study with `labels` on the voxels of its T1c series, in whatever order. `tracked` tells tracking UIDs by where
    the lesions are, or is the stem of UIDs in order of size."""
    source = load_volume(files[Contrast.T1C])
    grid = source.volume
    indices = grid.map_reference_to_indices(labels.map_indices_to_reference(np.argwhere(labels.array > 0)))
    if len(indices) and np.abs(indices - indices.round()).max() > 0.05:
        raise ValueError("the masks are not on the voxels of the T1c series")
    ordered = np.zeros(grid.spatial_shape, np.uint8)
    ordered[tuple(indices.round().astype(int).T)] = labels.array[labels.array > 0]
    found = find_lesions(with_geometry(ordered, grid))
    measured = measure_lesions(found.labels, found.lesions, source.sop_instance_uids)
    named: dict[str, LesionMeasurement] = {}
    for measurement in measured:
        uid = _nearest(measurement, tracked)
        if uid in named:  # two pieces of one simulated lesion are two lesions to the measurement
            uid = deterministic_uid("piece", uid, str(measurement.index))
        named[uid] = measurement
    return KnownStudy(study_instance_uid, acquired, files, found, named)


def _nearest(measurement: LesionMeasurement, tracked: dict[str, LesionTruth] | str) -> str:
    if isinstance(tracked, str):
        return deterministic_uid(tracked, str(measurement.index))
    here = np.array(measurement.centroid)
    return min(tracked, key=lambda uid: float(np.linalg.norm(here - np.array(tracked[uid].centroid_lps_mm))))


def revised(point: EncodedTimePoint, warning: str) -> EncodedTimePoint:
    """The second revision of a study, which names the first as its predecessor."""
    result = replace(point.result, revision=2, preliminary=True, warnings=(warning,))
    found, study = point.study.found, point.study
    encoded = encode_study(
        result, found.labels, found.lesions, study.headers(), Contrast.T1C, CREATED, point.encoded.objects
    )
    return replace(point, result=result, encoded=encoded)
