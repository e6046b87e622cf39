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
from scipy import ndimage as ndi

from longitudinal.types import Compartment, Contrast, Region, TumourType
from training.simulate.anatomy import Head, LabelArray, simulate_head
from training.simulate.course import Course, Patient, Treatment, simulate_patient
from training.simulate.dicom_series import StudyHeader, derived_uid, write_series
from training.simulate.mr import Matrix, Pose, SliceStack, render, rigid_pose, sample, scanner_noise
from training.simulate.protocol import SCANNERS, StudySize, plan_stack
from training.simulate.tumour import Lesion, plan_lesion, region_volumes_ml, seed_lesion

Progress = Callable[[int, int], None]
"""Called with (studies done, studies in all)."""

_PLACEMENT_TRIES = 12
_GAP_MM = 6.0

_SERIES_ORDER = (Contrast.T1, Contrast.T2, Contrast.FLAIR, Contrast.T1C)
"""As a protocol runs: contrast agent last."""


@dataclass(frozen=True)
class LesionTruth:
    """True volumes of one lesion at one time point; `index` counts the patient's lesions from 1 and stays the same
    over time. `centroid_lps_mm` is in the coordinates of this study."""

    index: int
    volumes_ml: dict[Region, float]
    cavity_ml: float
    centroid_lps_mm: tuple[float, float, float]


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


def place_lesions(patient: Patient, head: Head) -> tuple[Lesion, ...]:
    """Put the patient's lesions into the head; several are kept apart from one another where there is room."""
    rng = np.random.default_rng([patient.seed, 2])
    taken = np.zeros(head.shape, dtype=np.bool_)
    lesions = []
    for course in patient.lesions:
        plan = plan_lesion(rng, course.growth, course.cavity_ml)
        for _ in range(_PLACEMENT_TRIES):
            lesion = seed_lesion(rng, head, plan, taken)
            largest = lesion.compartments(max(course.core_ml), max(course.whole_ml)) > 0
            if not (taken[lesion.box] & largest).any():
                break
        gap = ndi.binary_dilation(largest, iterations=round(_GAP_MM / head.spacing_mm))
        taken[lesion.box] |= gap
        lesions.append(lesion)
    return tuple(lesions)


def _simulate_patient_studies(
    patient: Patient, seed: int, out: Path, size: StudySize, done: int
) -> Iterator[StudyTruth]:
    head = simulate_head(patient.seed, size.head_mm)
    lesions = place_lesions(patient, head)
    for number in range(len(patient.dates)):
        yield _simulate_study(patient, head, lesions, number, seed, out, size, done + number + 1)


def _simulate_study(
    patient: Patient,
    head: Head,
    lesions: tuple[Lesion, ...],
    number: int,
    seed: int,
    out: Path,
    size: StudySize,
    serial: int,
) -> StudyTruth:
    rng = np.random.default_rng([patient.seed, 3, number])
    labelled = [
        (lesion, lesion.compartments(course.core_ml[number], course.whole_ml[number]))
        for lesion, course in zip(lesions, patient.lesions, strict=True)
    ]
    header = _header(patient, number, seed, size)
    folder = Path(patient.patient_id) / f"timepoint-{number + 1}"
    pose = rigid_pose(rng, 4.0, 5.0)
    labels_file = Path("truth") / f"{serial}.nii.gz"
    for series_number, contrast in enumerate(_SERIES_ORDER, start=1):
        moved = _nudged(rng, pose)
        stack = plan_stack(rng, contrast, pose, size)
        signal = sample(render(rng, head, labelled, contrast), head, stack, moved)
        noise, bias = float(rng.uniform(0.012, 0.03)), float(rng.uniform(0.06, 0.16))
        acquired = scanner_noise(rng, signal, stack, noise, bias)
        write_series(out / folder / contrast.value, header, contrast, series_number, stack, acquired)
        if contrast is Contrast.T1C:
            _save_labels(out / labels_file, sample_labels(head, labelled, stack, moved), stack.affine)
    return StudyTruth(
        study_instance_uid=header.study_uid,
        patient_id=patient.patient_id,
        timepoint=number + 1,
        acquired=patient.dates[number],
        folder=folder.as_posix(),
        labels=labels_file.as_posix(),
        tumour_type=patient.tumour_type,
        course=patient.course,
        lesions=tuple(_lesion_truth(n, head, a, b, pose) for n, (a, b) in enumerate(labelled, start=1)),
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


def _nudged(rng: np.random.Generator, pose: Pose) -> Pose:
    """Patients move a little between series."""
    nudge = rigid_pose(rng, 0.3, 0.4)
    return Pose(nudge.rotation @ pose.rotation, nudge.rotation @ pose.shift_mm + nudge.shift_mm)


def sample_labels(head: Head, labelled: list[tuple[Lesion, LabelArray]], stack: SliceStack, pose: Pose) -> LabelArray:
    """The compartment that fills most of each voxel of `stack`; 0 where half or more of it is no tumour."""
    full = np.zeros(head.shape, dtype=np.uint8)
    for lesion, labels in labelled:
        view = full[lesion.box]
        view[labels > 0] = labels[labels > 0]
    shares = [
        sample((full == c.label).astype(np.float32), head, stack, pose)
        for c in sorted(Compartment, key=lambda c: c.label)
    ]
    inside = np.sum(shares, axis=0) >= 0.5
    return np.where(inside, np.argmax(shares, axis=0) + 1, 0).astype(np.uint8)


def _lesion_truth(index: int, head: Head, lesion: Lesion, labels: LabelArray, pose: Pose) -> LesionTruth:
    corner = np.array([s.start for s in lesion.box], dtype=float)
    middle = np.argwhere(labels > 0).mean(axis=0) + corner
    in_head = np.array(head.origin_mm) + middle[::-1] * head.spacing_mm
    centroid = pose.rotation @ in_head + pose.shift_mm
    cavity = float((labels == Compartment.CAVITY.label).sum() * head.voxel_ml)
    volumes = region_volumes_ml(labels, head.voxel_ml)
    return LesionTruth(index, volumes, cavity, (float(centroid[0]), float(centroid[1]), float(centroid[2])))


def _save_labels(file: Path, labels: LabelArray, affine: Matrix) -> None:
    """`affine` maps (slice, row, column) to LPS; NIfTI wants (column, row, slice) to RAS."""
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]
    nib.Nifti1Image(labels.transpose(2, 1, 0), ras).to_filename(file)  # type: ignore[no-untyped-call]
