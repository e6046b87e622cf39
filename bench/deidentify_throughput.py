"""Throughput of de-identification with verification: files per second of CPU time, on one core.

    python bench/deidentify_throughput.py [FILES]

Makes FILES (default 200) classic MR instances of 230 KB in memory: 256 x 256 x 16 bit and 91 KB of private header, as a
Siemens scanner sends them. Reading, gathering of identifiers, cleaning, encoding and verification are counted.
"""

from __future__ import annotations

import sys
import time
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from deidentify.engine import deidentify
from deidentify.keys import KeyRing
from deidentify.profile import Profile
from deidentify.reading import read
from deidentify.subject import Subject, identifiers_of
from deidentify.verification import verify_bytes
from deidentify.writing import to_bytes

_HEADER: dict[str, object] = {
    "SpecificCharacterSet": "ISO_IR 100", "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "SOPClassUID": MRImageStorage, "AccessionNumber": "A1234567", "Modality": "MR", "Manufacturer": "SIEMENS",
    "InstitutionName": "St. Elsewhere", "ReferringPhysicianName": "House^Gregory", "StationName": "MRC123456",
    "StudyDescription": "Brain tumor follow up", "SeriesDescription": "t1_mprage_sag_p2_iso post",
    "PerformingPhysicianName": "Wilson^James", "OperatorsName": "Op^Era", "ManufacturerModelName": "Skyra",
    "PatientName": "Mustermann^Erika^^Dr", "PatientID": "PID0001234", "PatientBirthDate": "19550302",
    "PatientSex": "F", "PatientAge": "064Y", "PatientWeight": "70", "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SP", "MP"], "ScanOptions": "IR", "MRAcquisitionType": "3D", "SequenceName": "*tfl3d1_16ns",
    "SliceThickness": "1", "RepetitionTime": "2300", "EchoTime": "2.98", "InversionTime": "900",
    "NumberOfAverages": "1", "ImagingFrequency": "123.25", "ImagedNucleus": "1H", "EchoNumbers": "1",
    "MagneticFieldStrength": "3", "NumberOfPhaseEncodingSteps": "255", "EchoTrainLength": "1",
    "PercentSampling": "100", "PixelBandwidth": "240", "DeviceSerialNumber": "45678",
    "SoftwareVersions": "syngo MR E11", "ProtocolName": "t1_mprage", "FlipAngle": "9", "PatientPosition": "HFS",
    "SAR": "0.05", "dBdt": "0", "StudyID": "1", "StudyInstanceUID": "1.3.12.2.1107.5.2.19.1.1",
    "SeriesInstanceUID": "1.3.12.2.1107.5.2.19.1.2", "SeriesNumber": "3", "AcquisitionNumber": "1",
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SliceLocation": "12.5",
    "FrameOfReferenceUID": "1.3.12.2.1107.5.2.19.1.3", "PositionReferenceIndicator": "", "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2", "Rows": 256, "Columns": 256, "PixelSpacing": [1, 1],
    "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "SmallestImagePixelValue": 0,
    "LargestImagePixelValue": 900, "WindowCenter": "400", "WindowWidth": "800",
}  # fmt: skip


def mr_file(number: int) -> bytes:
    ds = Dataset()
    for keyword, value in _HEADER.items():
        setattr(ds, keyword, value)
    ds.SOPInstanceUID, ds.InstanceNumber = f"1.3.12.2.1107.5.2.19.{number}", str(number)
    ds.ImagePositionPatient = [-100.123456789, -120.5, 80.25 + number]
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200115"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101112.250000"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = MRImageStorage, "1.3.12.2.1107.5.2.19.9"
    ds.ReferencedImageSequence = [reference]
    random = np.random.default_rng(number)
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", random.bytes(40_000))
    block.add_new(0x20, "OB", random.bytes(51_000))
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0E, "FD", [1.0, 0.0, 0.0])
    ds.PixelData = random.integers(0, 900, (256, 256), dtype=np.uint16).tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    files = [mr_file(number) for number in range(count)]
    keys, profile = KeyRing(bytes(32), "bench"), Profile.default()
    steps = {"read": 0.0, "identifiers": 0.0, "clean": 0.0, "encode": 0.0, "verify": 0.0}
    for data in files:
        marks = [time.process_time()]
        ds = read(data)
        marks.append(time.process_time())
        subject = Subject(bytes(16), identifiers_of(ds))
        marks.append(time.process_time())
        result = deidentify(ds, subject, keys, profile)
        marks.append(time.process_time())
        encoded = to_bytes(result.dataset)
        marks.append(time.process_time())
        if verify_bytes(encoded, subject, result.original_uids, result.charsets):
            raise SystemExit("the verification found something")
        marks.append(time.process_time())
        for name, begin, end in zip(steps, marks, marks[1:], strict=False):
            steps[name] += end - begin
    for name, seconds in steps.items():
        print(f"{name:12} {1000 * seconds / count:6.2f} ms")
    print(f"{len(files[0]) / 1000:.0f} KB a file, {count / sum(steps.values()):.0f} files/s of CPU time")


if __name__ == "__main__":
    main()
