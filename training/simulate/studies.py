"""`simulate studies`: longitudinal MR studies of simulated patients as DICOM, with the truth beside them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from longitudinal.types import Contrast, TumourType
from training.simulate.anatomy import LabelArray, simulate_head
from training.simulate.course import Course, Patient, Treatment, simulate_patient
from training.simulate.dicom_series import StudyHeader, derived_uid, write_series
from training.simulate.mr import Matrix
from training.simulate.protocol import SCANNERS, StudySize
from training.simulate.scan import SERIES_ORDER, LesionTruth, Scan, place_lesions, scan_patient

Progress = Callable[[int, int], None]
"""Called with (studies done, studies in all)."""


@dataclass(frozen=True)
class StudyTruth:
    """What is true of one simulated study; `labels` is the mask file on the T1c grid, relative to the output."""

    study_instance_uid: str
    patient_id: str
    timepoint: int
    acquired: dt.date
    folder: str
    labels: str
    tumour_type: TumourType
    course: Course
    lesions: tuple[LesionTruth, ...]
    treatments: tuple[Treatment, ...]

    def as_json(self) -> dict[str, Any]:
        """The entry in `truth.json`; volumes in millilitres, dates in ISO 8601."""
        return {
            "study_instance_uid": self.study_instance_uid,
            "patient_id": self.patient_id,
            "timepoint": self.timepoint,
            "acquired": self.acquired.isoformat(),
            "folder": self.folder,
            "labels": self.labels,
            "tumour_type": self.tumour_type.value,
            "course": self.course.value,
            "lesions": [
                {
                    "index": lesion.index,
                    "volumes_ml": {region.value: round(ml, 3) for region, ml in lesion.volumes_ml.items()},
                    "cavity_ml": round(lesion.cavity_ml, 3),
                    "centroid_lps_mm": [round(v, 1) for v in lesion.centroid_lps_mm],
                }
                for lesion in self.lesions
            ],
            "treatments": [
                {"kind": t.kind, "start": t.start.isoformat(), "end": t.end.isoformat()} for t in self.treatments
            ],
        }


def simulate_studies(
    patients: int,
    timepoints: int,
    seed: int,
    out: Path,
    progress: Progress | None = None,
    size: StudySize = StudySize.FULL,
) -> list[StudyTruth]:
    """Write `patients` x `timepoints` MR studies into `out`/patient/study/series/*.dcm, four series each.

    Beside them: `truth.json` (a list, one entry a study) and `truth/<n>.nii.gz`, the compartment labels on the grid
    of the T1c series (NIfTI axes column, row, slice). The same arguments write the same files, UIDs included.

    Raises:
        ValueError: when `patients` or `timepoints` is below 1.
        TemplateMissing: when the installed nilearn has no brain template.
    """
    if patients < 1 or timepoints < 1:
        raise ValueError("patients and timepoints must be at least 1")
    truths: list[StudyTruth] = []
    (out / "truth").mkdir(parents=True, exist_ok=True)
    for index in range(patients):
        for truth in _simulate_patient_studies(simulate_patient(index, timepoints, seed), seed, out, size, len(truths)):
            truths.append(truth)
            if progress:
                progress(len(truths), patients * timepoints)
    document = json.dumps([t.as_json() for t in truths], indent=1, ensure_ascii=False)
    (out / "truth.json").write_text(document + "\n", encoding="utf-8")
    return truths


def _simulate_patient_studies(
    patient: Patient, seed: int, out: Path, size: StudySize, done: int
) -> Iterator[StudyTruth]:
    head = simulate_head(patient.seed, size.head_mm)
    lesions = place_lesions(patient, head)
    for number in range(len(patient.dates)):
        scan = scan_patient(patient, head, lesions, number, size)
        yield _write_study(patient, number, scan, seed, out, size, done + number + 1)


def _write_study(
    patient: Patient, number: int, scan: Scan, seed: int, out: Path, size: StudySize, serial: int
) -> StudyTruth:
    header = _header(patient, number, seed, size)
    folder = Path(patient.patient_id) / f"timepoint-{number + 1}"
    labels_file = Path("truth") / f"{serial}.nii.gz"
    for series_number, contrast in enumerate(SERIES_ORDER, start=1):
        stack, signal = scan.series[contrast]
        write_series(out / folder / contrast.value, header, contrast, series_number, stack, signal)
    _save_labels(out / labels_file, scan.labels, scan.series[Contrast.T1C][0].affine)
    return StudyTruth(
        study_instance_uid=header.study_uid,
        patient_id=patient.patient_id,
        timepoint=number + 1,
        acquired=patient.dates[number],
        folder=folder.as_posix(),
        labels=labels_file.as_posix(),
        tumour_type=patient.tumour_type,
        course=patient.course,
        lesions=scan.lesions,
        treatments=tuple(t for t in patient.treatments if t.start <= patient.dates[number]),
    )


def _header(patient: Patient, number: int, seed: int, size: StudySize) -> StudyHeader:
    rng = np.random.default_rng([patient.seed, 4, number])
    started = dt.datetime.combine(patient.dates[number], dt.time(int(rng.integers(8, 17)), int(rng.integers(0, 60))))
    identity = ("simulate studies", seed, patient.index, number, size.value)
    return StudyHeader(
        patient=patient,
        timepoint=number + 1,
        study_uid=derived_uid(*identity),
        frame_of_reference_uid=derived_uid(*identity, "frame of reference"),
        accession=f"A{derived_uid(*identity, 'accession')[-10:]}",
        started=started,
        scanner=int(rng.integers(len(SCANNERS))),
    )


def _save_labels(file: Path, labels: LabelArray, affine: Matrix) -> None:
    """`affine` maps (slice, row, column) to LPS; NIfTI wants (column, row, slice) to RAS."""
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]
    nib.Nifti1Image(labels.transpose(2, 1, 0), ras).to_filename(file)  # type: ignore[no-untyped-call]
