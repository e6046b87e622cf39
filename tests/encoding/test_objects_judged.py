"""What other toolkits say of our objects, over whole patients: dciodvfy, DCMTK, dcmqi and PixelMed's templates.

By default one simulated patient with two time points; the slow tests take many and the real cases. The masks are the
simulator's truth, or the published segmentations of the real cases, so that nothing depends on a network.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from imaging.mr_series import classic, save
from peers import dcmqi
from peers.encoded_patients import EncodedTimePoint, encoded_patient, known_study, revised, simulated_patients
from peers.validators import complaints, rendered, template_complaints
from pydicom import Dataset
from pydicom.uid import generate_uid

from inference.encoding import read_report, read_segment_volumes
from inference.encoding.segment_plan import plan_segments
from inference.nifti_files import read_nifti
from inference.volumes import load_volume
from longitudinal.types import Compartment, Contrast, TumourType

pytestmark = pytest.mark.peer

MODALITIES = {Contrast.T1C: "t1c", Contrast.T1: "t1n", Contrast.T2: "t2w", Contrast.FLAIR: "t2f"}
REPORTS = ("sr", "diameter-sr", "forecast-sr")


@pytest.fixture(scope="module")
def one_patient(tmp_path_factory: pytest.TempPathFactory) -> list[EncodedTimePoint]:
    """The second simulated patient, with two metastases, at two time points; the last also revised."""
    (_, patient) = simulated_patients(tmp_path_factory.mktemp("one-patient"), 2, 2)
    return [*patient, revised(patient[-1], "A late series changed this result.")]


def judged(point: EncodedTimePoint, folder: Path) -> list[str]:
    """Everything that dciodvfy, DCMTK and dcmqi have against the objects of a time point."""
    files = point.save(folder)
    found = [f"{name}: {line}" for name, file in files.items() for line in complaints(file)]
    for name in REPORTS:
        if name in files:
            page, said = rendered(files[name])
            found += [f"{name}: dsr2html: {line}" for line in said]
            if "Measurement Group" not in page or "Equivalent Meaning" not in page:
                found.append(f"{name}: rendered without its groups")
    if "seg" in files:
        found += _against_voxels(point, files["seg"], folder / "segments")
        found += _against_volumes(files["seg"], files["sr"], folder / "segments")
    return found


def _against_voxels(point: EncodedTimePoint, seg: Path, folder: Path) -> Iterator[str]:
    """dcmqi must find each segment on exactly the voxels of the masks that were encoded."""
    read = dcmqi.read_segments(seg, folder)
    labels, lesions = point.study.found.labels, point.study.found.lesions
    source = point.study.headers()[Contrast.T1C][0]
    planned = [s for s in plan_segments(point.result, labels, lesions, source) if s.number is not None]
    if {s.number for s in planned} != set(read):
        yield f"dcmqi reads the segments {sorted(read)}"
    for segment in planned:
        wanted = np.isin(labels.array, [c.label for c in segment.structure.compartments])
        if segment.lesion is not None and segment.lesion.measurement is not None:
            wanted &= lesions.array == segment.lesion.measurement.index
        if not np.array_equal(read[segment.number or 0].on_grid(labels), wanted):
            yield f"dcmqi reads other voxels in segment {segment.number} ({segment.structure})"


def _against_volumes(seg: Path, report: Path, folder: Path) -> Iterator[str]:
    """The volume that dcmqi reads in the report is within 0.001 ml of what it counts in the segment."""
    segments = dcmqi.read_segments(seg, folder)
    groups = dcmqi.read_groups(report, folder)
    referenced = {int(g["ReferencedSegment"]): g for g in groups if "ReferencedSegment" in g}
    if set(referenced) != set(segments):
        yield f"the report references the segments {sorted(referenced)}"
    for number, group in referenced.items():
        stated, counted = dcmqi.volume_ml(group), segments[number].volume_ml
        if stated is None or abs(stated - counted) > 1e-3:
            yield f"segment {number}: the report says {stated} ml, dcmqi counts {counted:.4f} ml"


def test_every_object_of_a_patient_passes_all_judges(one_patient: list[EncodedTimePoint], tmp_path: Path) -> None:
    found = {number: judged(point, tmp_path / str(number)) for number, point in enumerate(one_patient)}
    assert found == {number: [] for number in range(3)}
    assert len(list(tmp_path.rglob("*.dcm"))) == 3 * 4


def shift_a_voxel(point: EncodedTimePoint) -> Any:
    array = point.study.found.labels.array
    place = tuple(np.argwhere(array == Compartment.ENHANCING.label)[0])
    array[place] = 0
    return lambda: array.__setitem__(place, Compartment.ENHANCING.label)


def round_a_volume(point: EncodedTimePoint) -> Any:
    group = next(g for g in _containers(point.encoded.report) if _item(g, "121191") is not None)
    value = _item(group, "118565006").MeasuredValueSequence[0]  # type: ignore[union-attr]
    before = (value.NumericValue, value.get("FloatingPointValue"))
    value.NumericValue = str(float(value.NumericValue) + 0.002)
    value.FloatingPointValue = float(value.NumericValue)

    def restore() -> None:
        value.NumericValue, value.FloatingPointValue = before
        if before[1] is None:
            del value.FloatingPointValue

    return restore


def drop_the_flag(point: EncodedTimePoint) -> Any:
    del point.encoded.report.CompletionFlag
    return lambda: setattr(point.encoded.report, "CompletionFlag", "COMPLETE")


@pytest.mark.parametrize(
    ("fault", "words"),
    [(shift_a_voxel, "other voxels"), (round_a_volume, "the report says"), (drop_the_flag, "CompletionFlag")],
)
def test_the_judges_see_a_fault(
    one_patient: list[EncodedTimePoint], tmp_path: Path, fault: Callable[[EncodedTimePoint], Any], words: str
) -> None:
    restore = fault(one_patient[0])
    try:
        found = judged(one_patient[0], tmp_path)
    finally:
        restore()
    assert any(words in line for line in found), found


def _containers(report: Dataset) -> list[Dataset]:
    (measurements,) = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    return list(measurements.ContentSequence)


def _item(group: Dataset, code: str) -> Dataset | None:
    found = [i for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == code]
    return found[0] if found else None


def real_case(real_data: Path, case: str, masks: str, folder: Path) -> list[EncodedTimePoint]:
    """A published case in its 240 x 240 x 155 space as DICOM, with the published segmentation."""
    source = real_data / "segmentation" / case
    study = generate_uid(entropy_srcs=[case])[:48]
    files = {}
    for contrast, name in MODALITIES.items():
        facts = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": generate_uid(entropy_srcs=[case, name])[:48],
            "FrameOfReferenceUID": generate_uid(entropy_srcs=[case, "frame"]),
            "PatientID": case.upper(),
            "PatientName": "Real^Case",
            "PatientBirthDate": "",
            "PatientSex": "O",
            "StudyDate": "20030101",
            "StudyTime": "101010",
            "StudyID": "1",
            "AccessionNumber": "",
            "ReferringPhysicianName": "",
            "Manufacturer": "UNKNOWN",
            "BodyPartExamined": "BRAIN",
        }
        files[contrast] = save(folder / name, classic(read_nifti(source / f"{name}.nii.gz"), **facts))
    labels = read_nifti(source / masks)
    labels.array[labels.array == 4] = 3  # the enhancing label of the years before 2023
    known = known_study(study, dt.date(2003, 1, 1), files, labels, case)
    return encoded_patient([known], TumourType.GBM)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("case", "masks"),
    [("tcga-fg-6692", "seg-simple.nii.gz"), ("brats-gli-00001-000", "seg-BraTS23_1.nii.gz")],
)
def test_real_cases_pass_all_judges(case: str, masks: str, real_data: Path, tmp_path: Path) -> None:
    (point,) = real_case(real_data, case, masks, tmp_path / "dicom")
    assert judged(point, tmp_path / "objects") == []
    volumes = read_segment_volumes(point.encoded.segmentation)  # type: ignore[arg-type]
    print(f"{case}: {len(volumes)} segments, {point.encoded.segmentation.NumberOfFrames} frames")  # type: ignore[union-attr]
    assert point.encoded.segmentation.NumberOfFrames <= 400  # type: ignore[union-attr]
    assert template_complaints(list(_reports(point, tmp_path / "objects"))) == {
        file: [] for file in _reports(point, tmp_path / "objects")
    }


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_simulated_patient_passes_all_judges(tmp_path: Path) -> None:
    """Twelve patients of all tumour types with three time points each; the template validator, which takes half a
    minute for a report, judges the reports of the last."""
    found: dict[str, list[str]] = {}
    reports: list[Path] = []
    for number, patient in enumerate(simulated_patients(tmp_path / "dicom", 12, 3, seed=2026)):
        for place, point in enumerate(patient):
            found[f"{number}/{place}"] = judged(point, tmp_path / "objects" / str(number) / str(place))
        reports += _reports(patient[-1], tmp_path / "objects" / str(number) / "2")
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert len(found) == 36
    templates = template_complaints(reports)
    assert {file.name: lines for file, lines in templates.items() if lines} == {}


@pytest.mark.slow
def test_the_template_validator_sees_a_fault(one_patient: list[EncodedTimePoint], tmp_path: Path) -> None:
    """Procedure Reported must come from CID 100."""
    report = copy.deepcopy(one_patient[0].encoded.diameters)
    assert report is not None
    item = _item(report, "121058")
    assert item is not None
    item.ConceptCodeSequence[0].CodeValue, item.ConceptCodeSequence[0].CodingSchemeDesignator = "113091000", "SCT"
    report.save_as(tmp_path / "fault.dcm", enforce_file_format=True)
    (lines,) = template_complaints([tmp_path / "fault.dcm"]).values()
    assert any("113091000" in line for line in lines)


def _reports(point: EncodedTimePoint, folder: Path) -> list[Path]:
    files = point.save(folder)
    return [files[name] for name in REPORTS if name in files]


def test_the_report_says_what_the_masks_hold(one_patient: list[EncodedTimePoint]) -> None:
    """The sum over the voxels of the given masks is the volume of the group, whole tumour by whole tumour."""
    for point in one_patient:
        labels, lesions = point.study.found.labels, point.study.found.lesions
        read = {g.tracking_uid: g.volume_ml for g in read_report(point.encoded.report)}
        for uid, measurement in point.study.measurements.items():
            inside = (lesions.array == measurement.index) & np.isin(labels.array, (1, 2, 3))
            assert read[uid] == pytest.approx(float(inside.sum()) * labels.voxel_volume / 1000, abs=1e-6)


def test_the_given_masks_lie_on_what_enhances(one_patient: list[EncodedTimePoint]) -> None:
    """A guard of these tests themselves: masks in another slice order than the images would go unnoticed."""
    point = one_patient[0]
    image = load_volume(point.study.files[Contrast.T1C]).volume.array
    labels = point.study.found.labels.array
    assert np.median(image[labels == Compartment.ENHANCING.label]) > 1.3 * np.median(image[labels == 2])
