"""The summary page as a DICOM object: a Secondary Capture image, or an Encapsulated PDF (PS3.3 A.8.1, A.45.1).

A page for eyes, in a series of its own; every number on it is in the reports. Its burnt-in text names no patient, but
it shows dates, so Burned In Annotation says YES.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from highdicom import PhotometricInterpretationValues
from highdicom.base import SOPClass
from highdicom.sc import SCImage
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from inference.encoding import codes, identity
from inference.encoding.identity import Purpose
from inference.encoding.report_document import DocumentContext
from inference.encoding.source_headers import full_header, local_time, stamp

SERIES_NUMBER = 99105
DESCRIPTION = "Timepoint summary, AI result NOT VERIFIED"


def encode_summary_image(context: DocumentContext, pixels: npt.NDArray[np.uint8]) -> Dataset:
    """The page as a Secondary Capture; `pixels` are RGB, (rows, columns, 3)."""
    original = context.evidence[0]
    image = SCImage.from_ref_dataset(
        full_header(original),
        pixel_array=pixels,
        photometric_interpretation=PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        series_instance_uid=identity.series_uid(Purpose.SUMMARY, context.result),
        series_number=SERIES_NUMBER,
        sop_instance_uid=identity.instance_uid(Purpose.SUMMARY, context.result, _digest(context, pixels.tobytes())),
        instance_number=max(context.result.revision, 1),
        manufacturer=identity.MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        contributing_equipment=[identity.contributing_equipment(local_time(original, context.created))],
    )
    image.BodyPartExamined = "BRAIN"  # an unpaired part: no laterality is then asked for
    image["PatientOrientation"].value = None  # highdicom asks for one; a page has none
    image.SamplesPerPixel = 3
    image.ConversionType = "WSD"
    _describe(image, context)
    image.DateOfSecondaryCapture, image.TimeOfSecondaryCapture = image.ContentDate, image.ContentTime
    return image


def encode_summary_pdf(context: DocumentContext, pdf: bytes) -> Dataset:
    """The page as an Encapsulated PDF."""
    original = context.evidence[0]
    document = SOPClass(
        study_instance_uid=original.StudyInstanceUID,
        series_instance_uid=identity.series_uid(Purpose.SUMMARY_PDF, context.result),
        series_number=SERIES_NUMBER + 1,
        sop_instance_uid=identity.instance_uid(Purpose.SUMMARY_PDF, context.result, _digest(context, pdf)),
        sop_class_uid=EncapsulatedPDFStorage,
        instance_number=max(context.result.revision, 1),
        modality="DOC",
        manufacturer=identity.MANUFACTURER,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    document.ContributingEquipmentSequence = [identity.contributing_equipment(local_time(original, context.created))]
    document.ConversionType = "WSD"
    document.DocumentTitle = "Brain tumor follow-up, AI result, not verified"
    document.ConceptNameCodeSequence = [CodedConcept.from_code(codes.ONCOLOGY_REPORT)]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    _describe(document, context)
    return document


def _describe(made: SOPClass, context: DocumentContext) -> None:
    made.ManufacturerModelName = identity.MODEL_NAME
    made.SoftwareVersions = identity.software_version()
    made.SeriesDescription = DESCRIPTION
    made.SeriesDescriptionCodeSequence = [CodedConcept.from_code(codes.SERIES_SUMMARY)]
    made.BurnedInAnnotation = "YES"
    stamp(made, context.evidence[0], context.created)
    made.AcquisitionDateTime = ""


def _digest(context: DocumentContext, content: bytes) -> str:
    return hashlib.sha256(context.digest.encode() + content).hexdigest()
