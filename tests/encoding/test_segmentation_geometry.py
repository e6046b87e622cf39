"""A mask must come back on the voxels it was drawn on, for every way a series can lie in space (S7)."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nibabel
import numpy as np
import pytest
from encoding.source_series import (
    AXIAL,
    CREATED,
    GEOMETRIES,
    Geometry,
    SourceSeries,
    classic,
    enhanced,
    masks,
    measure,
    rotation,
    study_result,
    volume,
)
from highdicom import Volume
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.encoding import EncodingError, encode_study
from inference.encoding.segment_plan import PlannedSegment, plan_segments
from inference.encoding.segmentation import encode_segmentation
from inference.encoding.source_geometry import match_slices
from inference.volumes import volume_of
from longitudinal.types import Contrast, StudyResult

KINDS = ("classic", "enhanced", "enhanced-per-frame")
MATRIX = [
    *((name, "classic") for name in GEOMETRIES),
    *((name, kind) for name in ("axial-reversed", "sagittal", "oblique") for kind in KINDS[1:]),
]


def source_of(kind: str, geometry: Geometry) -> list[Dataset]:
    recipe = SourceSeries(geometry)
    if kind == "classic":
        return classic(recipe)
    return [enhanced(recipe, per_frame_orientation=kind == "enhanced-per-frame")]


def expected_mask(segment: PlannedSegment, labels: Volume, lesions: Volume) -> np.ndarray:
    """What a segment must hold, worked out from the maps without the drawing code."""
    wanted = np.zeros(labels.shape, bool)
    for compartment in segment.structure.compartments:
        wanted |= labels.array == compartment.label
    if segment.lesion is not None:
        assert segment.lesion.measurement is not None
        wanted &= lesions.array == segment.lesion.measurement.index
    return wanted


@pytest.mark.parametrize(("name", "kind"), MATRIX)
def test_every_segment_returns_to_its_voxels(name: str, kind: str, tmp_path: Path) -> None:
    geometry = GEOMETRIES[name]
    labels, lesions = masks(geometry)
    result = study_result(labels, lesions)
    source = source_of(kind, geometry)
    file = tmp_path / "seg.dcm"
    encode_segmentation(result, labels, lesions, source, CREATED).save_as(file, enforce_file_format=True)
    segmentation = hd.seg.segread(file)
    planned = plan_segments(result, labels, lesions, source[0])
    assert len(planned) == segmentation.number_of_segments == 10
    for segment in planned:
        back = segmentation.get_volume(segment_numbers=[segment.number], combine_segments=True)
        on_grid = back.match_geometry(labels.get_geometry())
        assert np.array_equal(on_grid.array > 0, expected_mask(segment, labels, lesions)), segment.tracking_id


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_names_the_source_frame_it_lies_on(kind: str) -> None:
    geometry = GEOMETRIES["axial-reversed"]
    labels, lesions = masks(geometry)
    source = source_of(kind, geometry)
    segmentation = encode_segmentation(study_result(labels, lesions), labels, lesions, source, CREATED)
    positions = {}
    for frame in match_slices(labels, source):
        positions[str(frame.image.SOPInstanceUID), frame.frame_number] = tuple(frame.position)
    assert len(positions) == geometry.shape[0]
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        (reference,) = groups.DerivationImageSequence[0].SourceImageSequence
        number = reference.get("ReferencedFrameNumber")
        key = (str(reference.ReferencedSOPInstanceUID), None if number is None else int(number))
        assert tuple(float(x) for x in groups.PlanePositionSequence[0].ImagePositionPatient) == positions[key]
        assert reference.SpatialLocationsPreserved == "YES"


@pytest.mark.parametrize("name", ["oblique", "sagittal-reversed", "thick-with-gap"])
def test_dcmqi_reads_the_same_voxels(name: str, tmp_path: Path) -> None:
    geometry = GEOMETRIES[name]
    labels, lesions = masks(geometry)
    result = study_result(labels, lesions)
    source = classic(SourceSeries(geometry))
    file = tmp_path / "seg.dcm"
    encode_segmentation(result, labels, lesions, source, CREATED).save_as(file, enforce_file_format=True)
    tool = Path(sys.executable).parent / "segimage2itkimage"
    command = [str(tool), "--inputDICOM", str(file), "--outputDirectory", str(tmp_path), "--outputType", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    for segment in plan_segments(result, labels, lesions, source[0]):
        image = nibabel.load(tmp_path / f"{segment.number}.nii.gz")
        wanted = expected_mask(segment, labels, lesions)
        marked = np.asarray(image.dataobj) > 0
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
        assert np.array_equal(on_label_grid(marked, lps, labels), wanted), segment.tracking_id
        counted_ml = float(marked.sum() * np.prod(image.header.get_zooms()) / 1000)
        assert counted_ml == pytest.approx(segment.volume_ml, abs=1e-3 * segment.volume_ml)


def on_label_grid(marked: np.ndarray, affine: np.ndarray, labels: Volume) -> np.ndarray:
    """Marked voxels, placed by `affine` (LPS), on the grid of `labels`."""
    points = nibabel.affines.apply_affine(affine, np.argwhere(marked))
    indices = labels.map_reference_to_indices(points)
    assert np.abs(indices - indices.round()).max() < 0.02
    grid = np.zeros(labels.shape, bool)
    grid[tuple(indices.round().astype(int).T)] = True
    return grid


def test_slice_distance_is_that_of_the_slices_not_of_the_header() -> None:
    geometry = GEOMETRIES["thick-with-gap"]
    labels, lesions = masks(geometry)
    source = classic(SourceSeries(geometry, extra={"SpacingBetweenSlices": 2.15}))  # the gap, as some scanners write
    segmentation = encode_segmentation(study_result(labels, lesions), labels, lesions, source, CREATED)
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(7.15)
    assert float(measures.SliceThickness) == 5.0


def test_repeated_positions_and_a_localiser_in_the_series_do_no_harm() -> None:
    geometry = GEOMETRIES["oblique"]
    labels, lesions = masks(geometry)
    source = classic(SourceSeries(geometry))
    second_echo = classic(SourceSeries(geometry, series_uid=source[0].SeriesInstanceUID))
    for image in second_echo:
        image.SOPInstanceUID += ".7"
        image.InstanceNumber += 100
    localiser = classic(SourceSeries(GEOMETRIES["sagittal"]))[:1]
    localiser[0].SOPInstanceUID += ".9"
    result = study_result(labels, lesions)
    plain = encode_segmentation(result, labels, lesions, source, CREATED)
    mixed = encode_segmentation(result, labels, lesions, [*second_echo, *localiser, *source], CREATED)
    assert mixed.PixelData == plain.PixelData
    assert mixed.SourceImageSequence == plain.SourceImageSequence


def test_rounded_positions_and_noisy_orientation_are_still_the_same_grid() -> None:
    geometry = GEOMETRIES["oblique"]
    labels, lesions = masks(geometry)
    source = classic(SourceSeries(geometry))
    for number, image in enumerate(source):
        image.ImagePositionPatient = [round(float(x), 2) for x in image.ImagePositionPatient]
        image.ImageOrientationPatient = [float(x) + 1e-6 * number for x in image.ImageOrientationPatient]
    segmentation = encode_segmentation(study_result(labels, lesions), labels, lesions, source, CREATED)
    written = {
        tuple(g.PlanePositionSequence[0].ImagePositionPatient) for g in segmentation.PerFrameFunctionalGroupsSequence
    }
    assert written <= {tuple(image.ImagePositionPatient) for image in source}


def moved(geometry: Geometry) -> Geometry:
    return replace(geometry, origin=(geometry.origin[0] + 0.9, *geometry.origin[1:]))


def tilted(geometry: Geometry) -> Geometry:
    return replace(geometry, axes=rotation(1.0) @ geometry.axes)


def mirrored(geometry: Geometry) -> Geometry:
    return replace(geometry, axes=geometry.axes * np.array([1.0, 1.0, -1.0]))


def longer(geometry: Geometry) -> Geometry:
    return replace(geometry, shape=(geometry.shape[0] + 1, *geometry.shape[1:]))


def shorter(geometry: Geometry) -> Geometry:
    return replace(geometry, shape=(geometry.shape[0] - 1, *geometry.shape[1:]))


def coarser(geometry: Geometry) -> Geometry:
    return replace(geometry, spacing=(geometry.spacing[0], geometry.spacing[1] * 1.01, geometry.spacing[2]))


def narrower(geometry: Geometry) -> Geometry:
    return replace(geometry, shape=(*geometry.shape[:2], geometry.shape[2] - 1))


@pytest.mark.parametrize("change", [moved, tilted, mirrored, longer, shorter, coarser, narrower])
def test_masks_on_another_grid_are_refused(change) -> None:  # type: ignore[no-untyped-def]
    labels, lesions = masks(Geometry(AXIAL))
    result = study_result(labels, lesions)
    source = classic(SourceSeries(change(Geometry(AXIAL))))
    with pytest.raises(EncodingError, match=r"grid|series|slice"):
        encode_study(result, labels, lesions, {Contrast.T1C: source}, Contrast.T1C, CREATED)


def test_two_maps_on_different_grids_are_refused() -> None:
    labels, lesions = masks(Geometry(AXIAL))
    other = volume(lesions.array, moved(Geometry(AXIAL)))
    with pytest.raises(EncodingError, match="same grid"):
        encode_segmentation(
            study_result(labels, lesions), labels, other, classic(SourceSeries(Geometry(AXIAL))), CREATED
        )


def test_source_without_frame_of_reference_is_refused() -> None:
    labels, lesions = masks(Geometry(AXIAL))
    source = classic(SourceSeries(Geometry(AXIAL)))
    for image in source:
        del image.FrameOfReferenceUID
    with pytest.raises(EncodingError, match="Frame of Reference"):
        encode_segmentation(study_result(labels, lesions), labels, lesions, source, CREATED)


def test_a_stack_split_over_enhanced_instances_is_refused() -> None:
    geometry = Geometry(AXIAL)
    labels, lesions = masks(geometry)
    halves = [enhanced(SourceSeries(geometry)), enhanced(SourceSeries(geometry))]
    halves[1].SOPInstanceUID += ".2"
    for half, frames in zip(halves, (slice(0, 4), slice(4, None)), strict=True):
        half.PerFrameFunctionalGroupsSequence = half.PerFrameFunctionalGroupsSequence[frames]
        half.NumberOfFrames = len(half.PerFrameFunctionalGroupsSequence)
    with pytest.raises(EncodingError, match="several Enhanced"):
        encode_segmentation(study_result(labels, lesions), labels, lesions, halves, CREATED)


def test_real_enhanced_image(real_data: Path) -> None:
    """An Enhanced MR image of a Siemens XA scanner; the grid is read by the code that the analysis uses."""
    image = dcmread(real_data / "dicom" / "enhanced" / "6_1.dcm")
    labels, result = one_lesion(volume_of([image]).volume.get_geometry(), image.StudyInstanceUID, 2)
    lesions = labels.with_array((labels.array > 0).astype(np.uint8))
    encoded = encode_study(result, labels, lesions, {Contrast.T1C: [image]}, Contrast.T1C, CREATED)
    assert encoded.segmentation is not None
    segmentation = hd.seg.Segmentation.from_dataset(encoded.segmentation)
    back = segmentation.get_volume(segment_numbers=[1], combine_segments=True)
    assert np.array_equal(on_label_grid(back.array > 0, back.affine, labels), labels.array > 0)


def one_lesion(geometry: hd.VolumeGeometry, study_uid: str, first: int) -> tuple[Volume, StudyResult]:
    """A lesion on three slices from `first` on."""
    array = np.zeros(geometry.spatial_shape, np.uint8)
    array[first : first + 3, 10:21, 13:36] = 3
    array[first + 1, 12:15, 14:25] = 1
    labels = geometry.with_array(array)
    base = study_result(*masks(Geometry(AXIAL)))
    measured = measure(labels, geometry.with_array((array > 0).astype(np.uint8)), 1)
    lesion = replace(base.lesions[0], measurement=measured, changes=())
    return labels, replace(base, study_instance_uid=study_uid, lesions=(lesion,))


def test_real_oblique_series(real_data: Path, tmp_path: Path) -> None:
    """384 oblique slices as a scanner wrote them: the grid is found and the mask comes back."""
    with zipfile.ZipFile(real_data / "dicom" / "t1_oblique_384.zip") as archive:
        archive.extractall(tmp_path)
    images = [dcmread(f, stop_before_pixels=True) for f in tmp_path.rglob("*") if f.is_file()]
    images = [ds for ds in images if "ImagePositionPatient" in ds]
    normal = np.cross(images[0].ImageOrientationPatient[3:], images[0].ImageOrientationPatient[:3])
    images.sort(key=lambda ds: float(np.dot(normal, ds.ImagePositionPatient)))
    ends = [np.array(ds.ImagePositionPatient, float) for ds in (images[0], images[-1])]
    geometry = hd.VolumeGeometry.from_attributes(
        image_position=images[0].ImagePositionPatient,
        image_orientation=images[0].ImageOrientationPatient,
        rows=images[0].Rows,
        columns=images[0].Columns,
        pixel_spacing=images[0].PixelSpacing,
        spacing_between_slices=float(np.linalg.norm(ends[1] - ends[0])) / (len(images) - 1),
        number_of_frames=len(images),
        coordinate_system="PATIENT",
    )
    labels, result = one_lesion(geometry, images[0].StudyInstanceUID, 40)
    lesions = labels.with_array((labels.array > 0).astype(np.uint8))
    encoded = encode_study(result, labels, lesions, {Contrast.T1C: images}, Contrast.T1C, CREATED)
    assert encoded.segmentation is not None
    segmentation = hd.seg.Segmentation.from_dataset(encoded.segmentation)
    back = segmentation.get_volume(segment_numbers=[1], combine_segments=True)
    assert np.array_equal(on_label_grid(back.array > 0, back.affine, labels), labels.array > 0)
