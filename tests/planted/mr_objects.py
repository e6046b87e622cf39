"""Classic and Enhanced MR with everything a scanner sends, and identifiers planted wherever anyone thought of."""

from __future__ import annotations

import datetime as dt
from io import BytesIO

import numpy as np
import pydicom
from planted.patients import Patient
from planted.plants import Planter
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

GEOMETRY = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "SliceLocation", "Rows", "Columns", "PatientPosition",
)  # fmt: skip
ACQUISITION = (
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength", "EchoNumbers",
    "NumberOfAverages", "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "ImageType",
    "MagneticFieldStrength", "ImagingFrequency", "ImagedNucleus", "PixelBandwidth", "PercentSampling",
    "PercentPhaseFieldOfView", "NumberOfPhaseEncodingSteps", "InPlanePhaseEncodingDirection", "AcquisitionMatrix",
    "SAR", "dBdt", "TriggerTime", "TemporalPositionIdentifier", "NumberOfTemporalPositions", "DiffusionBValue",
    "DiffusionGradientOrientation", "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SequenceName",
    "BodyPartExamined", "Modality", "SeriesNumber", "AcquisitionNumber", "InstanceNumber", "StudyTime",
    "SeriesTime", "AcquisitionTime", "ContentTime",
)  # fmt: skip
PIXELS = (
    "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "SmallestImagePixelValue",
    "LargestImagePixelValue",
)  # fmt: skip
RETAINED = GEOMETRY + ACQUISITION + PIXELS
"""What inference and research need of a classic MR image: kept as it is."""


def encode(ds: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def reparsed(ds: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    """As a receiver sees it: not the objects that built it."""
    return pydicom.dcmread(BytesIO(encode(ds, syntax)))


def item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def code(value: str, scheme: str, meaning: str) -> Dataset:
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def general(ds: Dataset, patient: Patient, study: int, uids: dict[str, str]) -> None:
    """Patient, study, series and equipment modules of a valid object without plants of its own."""
    day = f"{patient.study_dates[study]:%Y%m%d}"
    ds.SpecificCharacterSet = patient.charset
    ds.PatientName, ds.PatientID = patient.name, patient.patient_id
    ds.PatientBirthDate, ds.PatientSex, ds.PatientAge = patient.birth_date, "F", patient.age
    ds.PatientWeight, ds.PatientSize = "71.5", "1.68"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = uids["study"], uids["frame"]
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime = "101500", "102212.5", "102301.25", "102500"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = "SIEMENS", "Skyra", "syngo MR E11"
    ds.Modality, ds.SeriesNumber, ds.PositionReferenceIndicator = "MR", "7", ""


def classic(patient: Patient, study: int, uids: dict[str, str], number: int) -> Dataset:
    """One slice, valid, with a description that research needs."""
    ds = Dataset()
    general(ds, patient, study, uids)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = MRImageStorage, uids[f"slice{number}"], uids["series"]
    ds.StudyDescription, ds.SeriesDescription, ds.ProtocolName = (
        "MR brain tumor follow up",
        "t1_mprage_sag_post",
        "t1 mprage",
    )
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = ["GR", "IR"], ["SP", "MP"], "IR"
    ds.MRAcquisitionType, ds.SequenceName, ds.BodyPartExamined = "3D", "*tfl3d1_16ns", "BRAIN"
    ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.FlipAngle = "2300", "2.98", "900", "9"
    ds.EchoTrainLength, ds.EchoNumbers, ds.NumberOfAverages, ds.MagneticFieldStrength = "1", "1", "1", "3"
    ds.ImagingFrequency, ds.ImagedNucleus, ds.PixelBandwidth = "123.25", "1H", "240"
    ds.PercentSampling, ds.PercentPhaseFieldOfView, ds.NumberOfPhaseEncodingSteps = "100", "93.75", "255"
    ds.InPlanePhaseEncodingDirection, ds.AcquisitionMatrix = "ROW", [0, 16, 16, 0]
    ds.SAR, ds.dBdt, ds.TriggerTime = "0.05", "0", "0"
    ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions = "1", "1"
    ds.DiffusionBValue, ds.DiffusionGradientOrientation = 1000.0, [0.0, 0.6, 0.8]
    ds.SliceThickness, ds.SpacingBetweenSlices, ds.SliceLocation = "1.25", "1.25", str(number * 1.25)
    ds.PatientPosition, ds.AcquisitionNumber, ds.InstanceNumber = "HFS", "1", str(number + 1)
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-90.5, -120.25, number * 1.25], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.Rows, ds.Columns = [0.9375, 0.9375], 16, 15
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1.5", "-2", "US"
    ds.WindowCenter, ds.WindowWidth, ds.SmallestImagePixelValue, ds.LargestImagePixelValue = "400", "800", 0, 4000
    pixels = np.random.default_rng(number).integers(0, 4000, (16, 15), dtype=np.uint16)
    ds.PixelData = pixels.tobytes()
    return ds


_NOT_ENHANCED = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope", "RescaleType",
    "RescaleIntercept", "SliceLocation", "DiffusionBValue", "DiffusionGradientOrientation", "EchoNumbers",
    "AcquisitionMatrix", "TriggerTime", "ImagingFrequency", "ImagedNucleus",
)  # fmt: skip


def enhanced(patient: Patient, study: int, uids: dict[str, str], frames: int = 3) -> Dataset:
    """Enhanced MR with shared and per-frame functional groups."""
    ds = classic(patient, study, uids, 0)
    for keyword in _NOT_ENHANCED:
        delattr(ds, keyword)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = (
        EnhancedMRImageStorage,
        uids["enhanced"],
        uids["enhanced_series"],
    )
    ds.NumberOfFrames, ds.PixelData = frames, ds.PixelData * frames
    ds.AcquisitionDateTime = f"{patient.study_dates[study]:%Y%m%d}102301.250000"
    ds.DeviceSerialNumber, ds.ResonantNucleus = "45123", "1H"
    measures = item(PixelSpacing=[0.9375, 0.9375], SliceThickness="1.25", SpacingBetweenSlices="1.25")
    timing = item(RepetitionTime="2300", FlipAngle="9", EchoTrainLength="1")
    ds.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[measures],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            MRTimingAndRelatedParametersSequence=[timing],
            PixelValueTransformationSequence=[item(RescaleSlope="1.5", RescaleIntercept="-2", RescaleType="US")],
            ReferencedImageSequence=[reference(MRImageStorage, uids["slice0"])],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [_frame(patient, study, number) for number in range(frames)]
    return ds


def _frame(patient: Patient, study: int, number: int) -> Dataset:
    moment = f"{patient.study_dates[study]:%Y%m%d}10230{number}.500000"
    content = item(StackID="1", InStackPositionNumber=number + 1, DimensionIndexValues=[1, number + 1])
    content.FrameAcquisitionDateTime, content.FrameReferenceDateTime = moment, moment
    return item(
        FrameContentSequence=[content],
        PlanePositionSequence=[item(ImagePositionPatient=[-90.5, -120.25, number * 1.25])],
        MREchoSequence=[item(EffectiveEchoTime=2.98)],
        MRDiffusionSequence=[item(DiffusionBValue=1000.0, DiffusionDirectionality="ISOTROPIC")],
    )


def reference(sop_class: str, uid: str) -> Dataset:
    return item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)


_NAMES = (
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord", "RequestingPhysician", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "ResponsiblePerson", "ScheduledPerformingPhysicianName", "ConsultingPhysicianName", "ContentCreatorName",
)  # fmt: skip
_SHORT = (
    "AccessionNumber", "StationName", "PerformedProcedureStepID", "PerformedStationName", "PatientTelephoneNumbers",
    "EthnicGroup", "Occupation", "RequestedProcedureID",
)  # fmt: skip
_NUMBERS = (
    "OtherPatientIDs", "AdmissionID", "DeviceSerialNumber", "ServiceEpisodeID", "IssuerOfAdmissionID",
)  # fmt: skip
_LONG = (
    "InstitutionName", "InstitutionalDepartmentName", "PatientAddress", "CountryOfResidence",
    "AdmittingDiagnosesDescription", "RequestedProcedureDescription", "PerformedProcedureStepDescription",
    "MedicalAlerts", "Allergies", "RequestingService", "CurrentPatientLocation", "ContrastBolusAgent", "GantryID",
    "DeviceID", "MilitaryRank", "PatientReligiousPreference", "ReceiveCoilName", "ContentDescription",
    "ProtocolName", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "PatientBirthDateInAlternativeCalendar",
    "WindowCenterWidthExplanation", "DetectorID", "PatientState",
)  # fmt: skip
_TEXTS = (
    "InstitutionAddress", "PatientComments", "AdditionalPatientHistory", "ImageComments", "StudyComments",
    "VisitComments", "AcquisitionComments", "FrameComments", "RequestedProcedureComments",
    "CommentsOnThePerformedProcedureStep", "ReasonForStudy", "DerivationDescription", "InterpretationText",
    "IdentifyingComments", "TextComments", "ResultsComments", "ImagePresentationComments", "SpecialNeeds",
    "AcquisitionProtocolDescription",
)  # fmt: skip
_DATES = (
    "LastMenstrualDate", "AdmittingDate", "DateOfLastCalibration", "CurveDate", "OverlayDate",
    "IssueDateOfImagingServiceRequest", "DateOfSecondaryCapture", "PatientDeathDateInAlternativeCalendar",
)  # fmt: skip
_UIDS = (
    "InstanceCreatorUID", "IrradiationEventUID", "DeviceUID", "ConcatenationUID",
    "SynchronizationFrameOfReferenceUID", "RelatedGeneralSOPClassUID", "StorageMediaFileSetUID",
    "DimensionOrganizationUID", "SpecimenUID",
)  # fmt: skip


def plant(ds: Dataset, planter: Planter) -> None:
    """Put an identifier of its own into every place; what the IOD does not know is planted as well."""
    for keyword in _NAMES:
        setattr(ds, keyword, planter.person(keyword))
    for keyword in _SHORT:
        setattr(ds, keyword, planter.label(keyword))
    for keyword in _NUMBERS:
        setattr(ds, keyword, planter.identifier(keyword))
    for keyword in _LONG:
        setattr(ds, keyword, planter.sentence(keyword, 64))
    for keyword in _TEXTS:
        setattr(ds, keyword, planter.sentence(keyword))
    for keyword in _DATES:
        setattr(ds, keyword, planter.day(keyword))
    for keyword in _UIDS:
        setattr(ds, keyword, planter.uid(keyword))
    ds.PatientAlternativeCalendar = "ISLAMIC"
    ds.InstanceCreationDate, ds.InstanceCreationTime = f"{dt.date(2021, 3, 4):%Y%m%d}", "101112"
    _plant_descriptors(ds, planter)
    _plant_sequences(ds, planter)
    _plant_private(ds, planter)
    _plant_groups(ds, planter)


def _plant_descriptors(ds: Dataset, planter: Planter) -> None:
    """Descriptions that mix what research needs with what nobody may see, staff and patient among it."""
    family = str(ds.PatientName).partition("=")[0].split("^")[0]
    known = str(ds.OperatorsName).split("^")[0]
    planter.note("descriptor", "SeriesDescription", known)
    ds.SeriesDescription = f"AX T1 POST GAD {known}"
    ds.StudyDescription = f"MR brain {family} {planter.identifier('StudyDescription')}".encode(
        "ascii", "ignore"
    ).decode()[:64]
    ds.SequenceName = planter.label("SequenceName")
    ds.BurnedInAnnotation = "NO"
    ds.RetrieveURL = f"https://pacs.example/{planter.identifier('RetrieveURL')}"
    ds.StationAETitle = planter.label("StationAETitle")
    ds.RetrieveAETitle = planter.label("RetrieveAETitle")
    ds.TimezoneOffsetFromUTC = "+0100"


def _plant_sequences(ds: Dataset, planter: Planter) -> None:
    who = item(
        PersonIdentificationCodeSequence=[
            code(planter.identifier("PersonCode"), "99HOSP", planter.sentence("PersonCode", 64))
        ]
    )
    who.InstitutionName, who.PersonAddress = (
        planter.sentence("nested InstitutionName", 64),
        planter.sentence("PersonAddress"),
    )
    ds.ReferringPhysicianIdentificationSequence = [who]
    ds.OperatorIdentificationSequence = [who]
    request = item(RequestedProcedureDescription=planter.sentence("nested RequestedProcedureDescription", 64))
    request.ScheduledProcedureStepID, request.AccessionNumber = (
        planter.label("nested ID"),
        planter.label("nested accession"),
    )
    ds.RequestAttributesSequence = [request]
    ds.OtherPatientIDsSequence = [
        item(PatientID=planter.identifier("nested PatientID"), IssuerOfPatientID=planter.label("nested issuer"))
    ]
    ds.ReferencedStudySequence = [reference("1.2.840.10008.3.1.2.3.1", planter.uid("ReferencedStudySequence"))]
    ds.ReferencedPatientSequence = [reference("1.2.840.10008.3.1.2.1.1", planter.uid("ReferencedPatientSequence"))]
    ds.ProcedureCodeSequence = [code(planter.label("ProcedureCode"), "99HOSP", planter.sentence("ProcedureCode", 64))]
    ds.ProcedureCodeSequence[0].LongCodeValue = planter.sentence("LongCodeValue")
    region = code("12738006", "SCT", planter.sentence("CodeMeaning", 64))
    region.AnatomicRegionModifierSequence = [
        code(planter.label("modifier"), planter.label("scheme"), planter.sentence("modifier", 64))
    ]
    ds.AnatomicRegionSequence = [region]
    original = item(
        PatientName=planter.person("OriginalAttributes"), PatientID=planter.identifier("OriginalAttributes")
    )
    ds.OriginalAttributesSequence = [
        item(ModifiedAttributesSequence=[original], ModifyingSystem=planter.label("ModifyingSystem"),
             SourceOfPreviousValues=planter.label("Source"),
             AttributeModificationDateTime=planter.day("Modified"))
    ]  # fmt: skip
    secret = planter.sentence("EncryptedContent").encode()
    ds.EncryptedAttributesSequence = [item(EncryptedContent=secret + b" " * (len(secret) % 2))]
    for referenced in ds.get("ReferencedImageSequence", []):
        referenced.PurposeOfReferenceCodeSequence = [code("121311", "DCM", planter.sentence("Purpose", 64))]
    ds.PatientSpeciesDescription = planter.sentence("PatientSpeciesDescription", 64)
    ds.ContributingEquipmentSequence = [
        item(Manufacturer=planter.label("Contributing"), InstitutionName=planter.label("Contributing institution"),
             OperatorsName=planter.person("Contributing operator"),
             PurposeOfReferenceCodeSequence=[code("109102", "DCM", "Processing Equipment")])
    ]  # fmt: skip


def _plant_private(ds: Dataset, planter: Planter) -> None:
    """Blocks of several vendors; only the listed numbers of the listed creators may stay."""
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x0E, "FD", [0.0, 0.6, 0.8])
    block.add_new(0x08, "LO", planter.sentence("private beside safe", 64))
    block = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", planter.sentence("CSA header").encode() * 20)
    block = ds.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 0.25)
    block.add_new(0x37, "PN", planter.person("private PN"))
    nested = item(PatientName=planter.person("private sequence"), ImageComments=planter.sentence("private sequence"))
    block.add_new(0x40, "SQ", Sequence([nested]))
    block = ds.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x39, "LO", planter.sentence("text where a number belongs", 64))
    block = ds.private_block(0x0099, planter.name() + " HOSPITAL", create=True)
    planter.note("label", "private creator", block.private_creator.split()[0])
    block.add_new(0x01, "UN", planter.sentence("private UN").encode())


def _plant_groups(ds: Dataset, planter: Planter) -> None:
    """Unknown even groups, curves, overlays, padding."""
    ds.add_new(0x00124321, "LO", planter.sentence("unknown even tag", 64))
    ds.add_new(0x00287FF0, "UN", planter.sentence("unknown even tag, UN").encode())
    ds.add_new(0x50000022, "LO", planter.sentence("CurveDescription", 64))
    ds.add_new(0x50003000, "OW", planter.sentence("CurveData", 40).encode())
    ds.add_new(0x60000010, "US", 16)
    ds.add_new(0x60000011, "US", 15)
    ds.add_new(0x60000022, "LO", planter.sentence("OverlayDescription", 64))
    ds.add_new(0x60001500, "LO", planter.label("OverlayLabel"))
    ds.add_new(0x60003000, "OW", planter.sentence("OverlayData", 30).encode())
    ds.add_new(0x60024000, "LT", planter.sentence("OverlayComments"))
    ds.add_new(0xFFFCFFFC, "OB", planter.sentence("padding", 40).encode())


def spoil_file(data: bytes, planter: Planter) -> bytes:
    """Plants outside the data set: preamble, file meta, bytes after the end."""
    ds = pydicom.dcmread(BytesIO(data))
    ds.file_meta.SourceApplicationEntityTitle = planter.label("SourceApplicationEntityTitle")
    ds.file_meta.ReceivingApplicationEntityTitle = planter.label("ReceivingApplicationEntityTitle")
    ds.file_meta.PrivateInformationCreatorUID = UID(planter.uid("PrivateInformationCreatorUID"))
    ds.file_meta.PrivateInformation = planter.sentence("PrivateInformation", 60).encode()
    preamble = planter.sentence("preamble", 128).encode()
    ds.preamble = preamble.ljust(128, b" ")
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
