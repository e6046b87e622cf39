"""Who we are in a DICOM object, and UIDs that come out the same when the same result is encoded again.

All UIDs are `2.25.` followed by a 128-bit UUID (PS3.5 B.2) that is computed from what the object is about, so a
re-run stores the same instance instead of a second one. Recognition of our own objects rests on the device UID,
not on a UID root.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from importlib import metadata
from typing import Any, SupportsFloat

from highdicom import ContributingEquipment
from highdicom import Volume as HighdicomVolume
from pydicom.dataset import Dataset

from inference.encoding.codes import PROCESSING_EQUIPMENT
from longitudinal.types import StudyResult

MANUFACTURER = "Timepoint"
MODEL_NAME = "Timepoint gateway"
DEVICE_UID = "2.25.330574877509855367537343165577006427409"
"""Names the product; drawn once at random."""

_OBJECT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
        "1.2.840.10008.5.1.4.1.1.104.1",  # Encapsulated PDF
    }
)


class Purpose(StrEnum):
    """What a UID is for; part of what it is computed from."""

    SEGMENTATION = "segmentation"
    MEASUREMENTS = "measurements"
    DIAMETERS = "diameters"
    FORECAST = "forecast"
    SUMMARY = "summary"
    SUMMARY_PDF = "summary-pdf"
    DIMENSION = "dimension-organization"
    TRACKING = "tracking"


def software_version() -> str:
    """Version of the installed distribution, "0" when run from an uninstalled tree."""
    try:
        return metadata.version("timepoint")
    except metadata.PackageNotFoundError:
        return "0"


def deterministic_uid(*parts: str) -> str:
    """A `2.25.` UID that depends on nothing but `parts` (SHA-256 cut to a UUID of version 8, RFC 9562)."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
    value = int.from_bytes(digest, "big")
    value = value & ~(0xF << 76) | (0x8 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return f"2.25.{value}"


def series_uid(purpose: Purpose, result: StudyResult) -> str:
    """Series of one kind of object from one model; later revisions of the study join the same series."""
    model = result.segmentation
    return deterministic_uid("series", purpose, result.study_instance_uid, model.name, model.version)


def instance_uid(purpose: Purpose, result: StudyResult, digest: str) -> str:
    """SOP Instance UID; `digest` (see `content_digest`) carries everything that the object says."""
    return deterministic_uid("instance", purpose, result.study_instance_uid, str(result.revision), digest)


def content_digest(result: StudyResult, labels: HighdicomVolume, lesions: HighdicomVolume, kind: str = "BINARY") -> str:
    """Hex SHA-256 over the result, both masks, the kind of segmentation and the version of the encoder."""
    digest = hashlib.sha256(software_version().encode())
    if kind != "BINARY":
        digest.update(kind.encode())
    digest.update(json.dumps(_plain(result), sort_keys=True).encode())
    for volume in (labels, lesions):
        digest.update(repr(volume.array.shape).encode())
        digest.update(volume.affine.round(6).tobytes())
        digest.update(volume.array.astype("<u2").tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    return float(value) if isinstance(value, SupportsFloat) else str(value)


def contributing_equipment(created: dt.datetime) -> ContributingEquipment:
    """Our item of the Contributing Equipment Sequence (0018,A001), whose serial number marks our objects."""
    return ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=PROCESSING_EQUIPMENT,
        manufacturer_model_name=MODEL_NAME,
        software_versions=software_version(),
        device_serial_number=DEVICE_UID,
        contribution_datetime=created.replace(tzinfo=None),
        contribution_description="Segmentation, measurement and encoding",
    )


def is_own_object(ds: Dataset) -> bool:
    """Whether `ds` (a header is enough) is a result that this gateway product made.

    Only SEG, SR, key object documents and summary pages can be ours: an MR image that a modality or a simulator
    labels with our name is still input.
    """
    if ds.get("SOPClassUID") not in _OBJECT_CLASSES:
        return False
    if ds.get("Manufacturer") == MANUFACTURER and ds.get("ManufacturerModelName") == MODEL_NAME:
        return True
    equipment = ds.get("ContributingEquipmentSequence") or ()
    return any(item.get("DeviceSerialNumber") == DEVICE_UID for item in equipment)
