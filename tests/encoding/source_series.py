"""Small MR series and results for the encoder tests: any orientation, slice order, character set, enhanced or not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from highdicom import Volume
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from longitudinal.types import (
    AlgorithmIdentity,
    Change,
    Compartment,
    Diameter,
    Forecast,
    ForecastPoint,
    LesionMeasurement,
    LesionResult,
    Reference,
    Region,
    Response,
    StudyResult,
    TimePointContext,
)

CREATED = dt.datetime(2026, 3, 2, 14, 5, 9, tzinfo=dt.UTC)
STUDY_UID = "1.2.826.0.1.3680043.8.498.1001"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
MODEL = AlgorithmIdentity("test network", "1.2.0", "ab" * 32)


def rotation(degrees_x: float = 0.0, degrees_y: float = 0.0) -> np.ndarray:
    x, y = np.deg2rad(degrees_x), np.deg2rad(degrees_y)
    around_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    around_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    return np.asarray(around_y @ around_x)


@dataclass(frozen=True)
class Geometry:
    """Directions of (slice, row index, column index) as columns of `axes`, spacing in mm, first voxel in LPS."""

    axes: np.ndarray
    spacing: tuple[float, float, float] = (5.5, 0.9, 1.1)
    origin: tuple[float, float, float] = (-20.0, -31.5, 12.25)
    shape: tuple[int, int, int] = (9, 24, 20)

    @property
    def affine(self) -> np.ndarray:
        affine = np.eye(4)
        affine[:3, :3] = self.axes * np.array(self.spacing)
        affine[:3, 3] = self.origin
        return affine


AXIAL = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], float)
SAGITTAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
CORONAL = np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float)
GEOMETRIES = {
    "axial": Geometry(AXIAL),
    "axial-reversed": Geometry(AXIAL * np.array([-1.0, 1.0, 1.0])),
    "sagittal": Geometry(SAGITTAL),
    "sagittal-reversed": Geometry(SAGITTAL * np.array([-1.0, 1.0, 1.0])),
    "coronal": Geometry(CORONAL),
    "oblique": Geometry(rotation(12, -6) @ AXIAL),
    "double-oblique-sagittal": Geometry(rotation(-17, 9) @ SAGITTAL),
    "thick-with-gap": Geometry(rotation(3, 1) @ AXIAL, spacing=(7.15, 0.4688, 0.4688)),
}


@dataclass
class SourceSeries:
    """Recipe of an original series."""

    geometry: Geometry
    series_uid: str = STUDY_UID + ".1"
    charset: str | list[str] | None = "ISO_IR 100"
    patient_name: str = "Müller^Änne"
    issuer: str | None = "Hospital A"
    extra: dict[str, object] = field(default_factory=dict)


def classic(recipe: SourceSeries, shuffle: bool = True) -> list[Dataset]:
    """One instance a slice, in an order that is not the spatial one."""
    geometry = recipe.geometry
    images = []
    for index in range(geometry.shape[0]):
        ds = header(recipe)
        ds.SOPClassUID = MRImageStorage
        ds.SOPInstanceUID = f"{recipe.series_uid}.{index + 1}"
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.InstanceNumber = index + 1
        ds.ImagePositionPatient = [round(float(x), 6) for x in (geometry.affine @ [index, 0, 0, 1])[:3]]
        ds.ImageOrientationPatient = orientation(geometry)
        ds.PixelSpacing = list(geometry.spacing[1:])
        ds.SliceThickness = 5.0
        images.append(ds)
    if shuffle:
        np.random.default_rng(7).shuffle(images)
    return images


def orientation(geometry: Geometry) -> list[float]:
    return [round(float(x), 9) for x in (*geometry.axes[:, 2], *geometry.axes[:, 1])]


def enhanced(recipe: SourceSeries, per_frame_orientation: bool = False) -> Dataset:
    """The same series as one Enhanced MR instance, frames in reverse spatial order."""
    geometry = recipe.geometry
    ds = header(recipe)
    ds.SOPClassUID = ENHANCED_MR
    ds.SOPInstanceUID = recipe.series_uid + ".1"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.InstanceNumber = 1
    ds.NumberOfFrames = geometry.shape[0]
    plane, measures = Dataset(), Dataset()
    plane.ImageOrientationPatient = orientation(geometry)
    measures.PixelSpacing = list(geometry.spacing[1:])
    measures.SliceThickness = 5.0
    shared = Dataset()
    frames = []
    for index in reversed(range(geometry.shape[0])):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = [round(float(x), 6) for x in (geometry.affine @ [index, 0, 0, 1])[:3]]
        frame.PlanePositionSequence = [position]
        if per_frame_orientation:
            frame.PlaneOrientationSequence = [plane]
            frame.PixelMeasuresSequence = [measures]
        frames.append(frame)
    if not per_frame_orientation:
        shared.PlaneOrientationSequence = [plane]
        shared.PixelMeasuresSequence = [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = frames
    return ds


def header(recipe: SourceSeries) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if recipe.charset:
        ds.SpecificCharacterSet = recipe.charset
    ds.StudyInstanceUID = STUDY_UID
    ds.SeriesInstanceUID = recipe.series_uid
    ds.FrameOfReferenceUID = STUDY_UID + ".99"
    ds.PositionReferenceIndicator = ""
    ds.Modality = "MR"
    ds.Manufacturer = "ScannerWorks"
    ds.PatientName = recipe.patient_name
    ds.PatientID = "0042"
    if recipe.issuer:
        ds.IssuerOfPatientID = recipe.issuer
    ds.PatientBirthDate = "19610203"
    ds.PatientSex = "F"
    ds.PatientAge = "065Y"
    ds.StudyID = "7"
    ds.StudyDate, ds.StudyTime = "20260302", "101112"
    ds.AccessionNumber = "A1"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "MR head"
    ds.SeriesNumber = 4
    ds.Rows, ds.Columns = recipe.geometry.shape[1:]
    ds.SamplesPerPixel = 1
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelData = b"\0\0" * int(np.prod(recipe.geometry.shape[1:]))
    for keyword, value in recipe.extra.items():
        setattr(ds, keyword, value)
    return ds


def masks(geometry: Geometry) -> tuple[Volume, Volume]:
    """Two lesions and a cavity without any symmetry: a flip or a swapped axis changes every one of them."""
    labels = np.zeros(geometry.shape, np.uint8)
    lesions = np.zeros(geometry.shape, np.uint8)
    labels[1:5, 3:12, 4:9] = Compartment.OEDEMA.label
    labels[2:4, 4:9, 5:8] = Compartment.ENHANCING.label
    labels[2, 5:7, 6] = Compartment.NECROTIC.label
    labels[3, 4, 5] = Compartment.NECROTIC.label
    lesions[1:5, 3:12, 4:9] = 1
    labels[6:8, 14:17, 12:18] = Compartment.ENHANCING.label
    labels[7, 16, 17] = Compartment.OEDEMA.label
    lesions[6:8, 14:17, 12:18] = 2
    labels[5, 20:23, 1:3] = Compartment.CAVITY.label
    return volume(labels, geometry), volume(lesions, geometry)


def volume(array: np.ndarray, geometry: Geometry) -> Volume:
    return Volume(array, geometry.affine, coordinate_system="PATIENT")


def measure(labels: Volume, lesions: Volume, index: int) -> LesionMeasurement:
    """Volumes counted from the masks; diameters along the rows and columns of the first core slice."""
    own = lesions.array == index
    ml = labels.voxel_volume / 1000
    compartments = {c: float((own & (labels.array == c.label)).sum() * ml) for c in Compartment}
    volumes = {r: sum(compartments[c] for c in r.compartments) for r in Region}
    longest, short = core_diameters(labels, own & np.isin(labels.array, Region.CORE.labels))
    return LesionMeasurement(
        index=index,
        volumes_ml=volumes,
        volume_sd_ml={r: 0.05 + 0.1 * volumes[r] for r in Region},
        compartments_ml=compartments,
        centroid=tuple(labels.map_indices_to_reference(np.argwhere(own).mean(axis=0)[np.newaxis])[0]),
        longest=longest,
        perpendicular=short,
        diameter_sop_instance_uid="2.25.1",
        max_3d_diameter_mm=longest.length_mm if longest else 0.0,
        surface_area_mm2=100.0,
        sphericity=0.8,
    )


def core_diameters(labels: Volume, core: np.ndarray) -> tuple[Diameter | None, Diameter | None]:
    points = np.argwhere(core)
    if not len(points):
        return None, None
    on_slice = points[points[:, 0] == points[0, 0]]
    low, high = on_slice.min(axis=0), on_slice.max(axis=0)
    middle = (low + high) // 2
    along_rows = diameter(labels, [low[0], low[1], middle[2]], [low[0], high[1], middle[2]])
    along_columns = diameter(labels, [low[0], middle[1], low[2]], [low[0], middle[1], high[2]])
    longest, short = sorted((along_rows, along_columns), key=lambda d: -d.length_mm)
    return longest, short


def diameter(labels: Volume, start: Sequence[int], end: Sequence[int]) -> Diameter:
    one, other = labels.map_indices_to_reference(np.array([start, end], float))
    return Diameter(tuple(one), tuple(other), float(np.linalg.norm(other - one)))


def study_result(labels: Volume, lesions: Volume, *, target: Region = Region.CORE) -> StudyResult:
    """Lesion 1 grown, lesion 2 new, lesion 3 gone, and a forecast at two horizons."""
    change = Change(Reference.NADIR, dt.date(2025, 12, 1), 91, 0.5, 0.35, 0.7, True)
    gone = Change(Reference.PREVIOUS, dt.date(2025, 12, 1), 91, 0.4, -0.4, -1.0, False)
    found = (
        LesionResult("2.25.1001", "L1", measure(labels, lesions, 1), (change,), Response.PROGRESSIVE),
        LesionResult("2.25.1002", "L2", measure(labels, lesions, 2), (), Response.BASELINE, is_new=True),
        LesionResult("2.25.1003", "L3", None, (gone,), Response.COMPLETE),
    )
    forecast = Forecast(
        "2.25.1000",
        target,
        1.25,
        (ForecastPoint(90, 1.6, 1.1, 2.4, 0.9), ForecastPoint(180, 2.0, 0.9, 4.0, 0.9)),
        AlgorithmIdentity("test forecaster", "0.3.0", "cd" * 32),
        "cal-7",
    )
    return StudyResult(
        study_instance_uid=STUDY_UID,
        revision=1,
        timepoint=TimePointContext(3, dt.date(2026, 3, 2), 182, False, False),
        lesions=found,
        response=Response.PROGRESSIVE,
        target=target,
        forecast=forecast,
        segmentation=MODEL,
        warnings=("T2 missing, T2-FLAIR ≥ used in its place – see note",),
    )


def empty_result() -> StudyResult:
    shape = Geometry(AXIAL)
    base = study_result(*masks(shape))
    return replace(base, lesions=(), forecast=None, response=Response.BASELINE)
