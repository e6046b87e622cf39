"""Real objects and dciodvfy: what was valid stays valid."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from deidentify.engine import deidentify
from deidentify.errors import RefusalCode, Refused
from deidentify.profile import Profile
from deidentify.quiet import quiet
from deidentify.reading import read
from deidentify.subject import Subject, identifiers_of
from deidentify.verification import verify_bytes
from deidentify.writing import to_bytes

DCIODVFY = Path(sys.executable).with_name("dciodvfy")


def errors(path: Path) -> set[str]:
    run = subprocess.run([DCIODVFY, "-new", path], capture_output=True, text=True, errors="replace", check=False)
    lines = (run.stdout + run.stderr).splitlines()
    assert not any("could not" in line.lower() for line in lines[:1]), lines[:1]
    return {re.sub(r"\s+", " ", line) for line in lines if line.startswith("Error")}


def test_no_error_is_new(processed):
    """All kinds of objects of two patients; dciodvfy does not read deflated files, so those are left out."""
    compared = 0
    for name, patient in processed.corpus.patient_of.items():
        if patient.key in ("second", "japanese") and not name.endswith("deflated"):
            assert errors(processed.outputs[name]) - errors(processed.source / name) == set(), name
            compared += 1
    assert compared > 20


@pytest.fixture(scope="module")
def real_images(real_data) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted((real_data / "dicom" / "enhanced").glob("*.dcm"))}
    with zipfile.ZipFile(real_data / "dicom" / "t1_oblique_384.zip") as archive:
        names = sorted(name for name in archive.namelist() if not name.endswith("/"))
        files |= {name: archive.read(name) for name in names[::48]}
    return files


KEPT_EVERYWHERE = (
    "Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "NumberOfFrames", "Modality", "ImageType",
    "MagneticFieldStrength", "SoftwareVersions", "Manufacturer", "ManufacturerModelName", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "RepetitionTime", "EchoTime",
    "RescaleSlope", "RescaleIntercept", "SeriesNumber", "InstanceNumber", "PulseSequenceName", "MRAcquisitionType",
)  # fmt: skip


def test_real_images_pass_and_keep_geometry_pixels_and_acquisition(real_images, keys, tmp_path):
    passed = 0
    for name, data in real_images.items():
        if name.endswith("Raw.dcm"):
            continue
        received = read(data)
        subject = Subject(b"s" * 16, identifiers_of(received))
        result = deidentify(received, subject, keys, Profile.default())
        encoded = to_bytes(result.dataset)
        assert verify_bytes(encoded, subject, result.original_uids, result.charsets) == [], name
        with quiet():
            after = read(encoded)
            for keyword in KEPT_EVERYWHERE:
                assert after.get(keyword) == received.get(keyword), (name, keyword)
            assert np.array_equal(after.pixel_array, received.pixel_array)
            assert _geometry(after) == _geometry(received)
        (tmp_path / "before.dcm").write_bytes(data)
        (tmp_path / "after.dcm").write_bytes(encoded)
        assert errors(tmp_path / "after.dcm") - errors(tmp_path / "before.dcm") == set(), name
        passed += 1
    assert passed == 13


def _geometry(ds: Dataset) -> list[object]:
    """Everything inference reads of the functional groups, frame by frame."""
    found: list[object] = []
    groups = [*ds.get("SharedFunctionalGroupsSequence", []), *ds.get("PerFrameFunctionalGroupsSequence", [])]
    for group in groups:
        for keyword in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "MREchoSequence",
                        "MRTimingAndRelatedParametersSequence", "PixelValueTransformationSequence"):  # fmt: skip
            if keyword in group:
                found.append([(e.keyword, e.value) for e in group[keyword].value[0] if e.VR not in ("SQ", "LO")])
    return found


def test_a_real_raw_data_object_is_refused_on_purpose(real_images, keys):
    received = read(next(data for name, data in real_images.items() if name.endswith("Raw.dcm")))
    with pytest.raises(Refused) as refusal:
        deidentify(received, Subject(b"s" * 16, ()), keys, Profile.default())
    assert refusal.value.code is RefusalCode.SOP_CLASS_REFUSED
