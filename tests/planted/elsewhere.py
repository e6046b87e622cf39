"""Identifiers in places, forms and encodings beyond those of `mr_objects`: other makers' private blocks, coded strings,
equipment, odd groups, look-up tables, code streams, structure sets, deep reports, and names as people write them."""

from __future__ import annotations

import struct
import unicodedata
from copy import deepcopy

import numpy as np
from planted.mr_objects import code, item, reference, reparsed
from planted.plants import Planter
from pydicom.charset import convert_encodings, encode_string
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, MRImageStorage, RLELossless, RTStructureSetStorage

_TERMS = (
    "BodyPartExamined", "PatientOrientation", "QualityControlImage", "VolumetricProperties", "ScanOptions",
    "SequenceVariant", "InPlanePhaseEncodingDirection", "AcquisitionContrast", "ComplexImageComponent",
    "ContrastBolusIngredient", "PresentationLUTShape", "AnatomicalOrientationType", "Laterality", "ImageLaterality",
    "PartialFourier", "DiffusionDirectionality", "PerformedProcedureStepStatus", "ReportStatusIDTrial",
)  # fmt: skip
_EQUIPMENT = (
    "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "ReceiveCoilName", "TransmitCoilName",
    "ImagedNucleus", "RescaleType", "PositionReferenceIndicator", "WindowCenterWidthExplanation",
    "ReceiveCoilManufacturerName", "DeviceUDI", "DetectorID", "PlateID", "CassetteID", "LensMake",
)  # fmt: skip
_LABELS = (
    "SeriesDescription", "StudyDescription", "ProtocolName", "RequestedProcedureDescription",
    "PerformedProcedureStepDescription", "AcquisitionProtocolName", "DerivationDescription", "SequenceName",
)  # fmt: skip
_MAKERS = (
    (0x0009, "GEMS_IDEN_01"), (0x0025, "GEMS_SERS_01"), (0x0010, "GEMS_PATI_01"), (0x0043, "GEMS_PARM_01"),
    (0x0051, "SIEMENS MR HEADER"), (0x0021, "SIEMENS MR SDI 02"), (0x0095, "SIEMENS SYNGO EVIDENCE DOCUMENT DATA"),
    (0x2001, "Philips Imaging DD 001"), (0x2005, "Philips MR Imaging DD 005"), (0x07A1, "ELSCINT1"),
    (0x700D, "TOSHIBA_MEC_MR3"), (0x0065, "Image Private Header"), (0x0011, "HMR_2.0"), (0x0177, "BRUKER BIOSPIN"),
    (0x0033, "FUJI PHOTO FILM Co., ltd."), (0x3711, "A.L.I. Technologies, Inc."), (0x4009, "AGFA_ADC_Compact"),
)  # fmt: skip


def plant_elsewhere(ds: Dataset, planter: Planter) -> None:
    """Put identifiers of every kind into a classic MR image that `mr_objects.classic` made."""
    for keyword in _TERMS:
        setattr(ds, keyword, planter.label(keyword).upper())
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", planter.label("ImageType").upper()]
    for keyword in _EQUIPMENT:
        setattr(ds, keyword, f"{planter.label(keyword)} 3T")
    for keyword, text in zip(_LABELS, _written(ds, planter), strict=False):
        setattr(ds, keyword, text[:64])
    ds.Manufacturer = ["SIEMENS", planter.label("Manufacturer, second value")]
    ds.NumberOfAverages, ds.AcquisitionNumber = "1", planter.identifier("AcquisitionNumber")
    long = planter.number(12)
    ds.TriggerTime = long
    planter.note("number", "TriggerTime", long)
    _sequences(ds, planter)
    _blocks(ds, planter)
    _odd(ds, planter)
    _look_up_table(ds, planter)


def _written(ds: Dataset, planter: Planter) -> list[str]:
    """Descriptions that name patient and staff as people do: reversed, joined, in other cases and without accents."""
    family, given = [*str(ds.PatientName).partition("=")[0].split("^"), ""][:2]
    plain = unicodedata.normalize("NFKD", family).encode("ascii", "ignore").decode()
    staff, day = planter.name(), planter.date()
    record, order, phone = planter.number(8), f"A{planter.number(7)}", f"+44 20 {planter.number(4)} {planter.number(4)}"
    serial = planter.uid("UID in text")
    forms = (staff, record, order, phone, day.isoformat(), f"{day:%d.%m.%Y}", f"{day:%m/%d/%Y}", f"{day:%Y%m%d}")
    planter.note("descriptor", "descriptions", *forms)
    if len(plain) > 4:
        planter.note("descriptor", "names in other forms", plain, f"{given}{family}" if given.isascii() else plain)
    return [
        f"t1 {plain.lower()} {given.upper()}" if given.isascii() else f"t1 {plain.lower()}",
        f"MR brain {given}{family} {record}" if (given + family).isascii() else f"MR brain {record}",
        f"ax flair dr {staff.lower()} {day:%d.%m.%Y}",
        f"{order} brain {day:%m/%d/%Y} {phone}",
        f"acc#{order} {day:%Y%m%d} post gad",
        f"https://pacs/{record}?n={staff}",
        f"from {serial} on {day.isoformat()} by {staff.upper()}",
        f"{staff}{record}",
    ]


def _sequences(ds: Dataset, planter: Planter) -> None:
    name = code("121106", "DCM", planter.sentence("AcquisitionContext concept", 60))
    answer = item(ValueType="TEXT", TextValue=planter.sentence("AcquisitionContext"), ConceptNameCodeSequence=[name])
    person = item(ValueType="PNAME", PersonName=planter.person("AcquisitionContext"), ConceptNameCodeSequence=[name])
    ds.AcquisitionContextSequence = [answer, person]
    odd = planter.number(8)
    planter.note("number", "codes", odd)
    ds.PerformedProtocolCodeSequence = [
        code(odd, "SCT", planter.sentence("code meaning", 60)), code(odd, planter.label("scheme"), "T1"),
        code(planter.label("UCUM"), "UCUM", planter.label("UCUM meaning")), code(odd[:6], "DCM", "Brain"),
    ]  # fmt: skip
    ds.PerformedProtocolCodeSequence[0].CodingSchemeVersion = planter.day("CodingSchemeVersion")
    ds.PerformedProtocolCodeSequence[0].MappingResourceName = planter.sentence("MappingResourceName", 60)
    ds.RelatedSeriesSequence = [item(StudyInstanceUID=planter.uid("related"), SeriesInstanceUID=planter.uid("related"))]
    agent = code("C-B0322", "SRT", planter.sentence("agent", 60))
    ds.ContrastBolusAgentSequence = [agent]
    ds.DigitalSignaturesSequence = [
        item(MACIDNumber=1, DigitalSignatureUID=planter.uid("signed"), DigitalSignatureDateTime=planter.day("signed"),
             CertificateOfSigner=_even(planter.sentence("cert")))
    ]  # fmt: skip
    ds.IconImageSequence = [
        item(Rows=2, Columns=20, BitsAllocated=8, PixelRepresentation=0, PixelData=_even(planter.sentence("icon", 40)))
    ]
    ds.ReferencedPerformedProcedureStepSequence = [reference("1.2.840.10008.3.1.2.3.3", planter.uid("step"))]
    ds.SourceImageSequence = [reference("1.3.12.2.1107.5.9.1", planter.uid("source"))]
    ds.AdditionalDocumentReferenceSequence = [item(DocumentTitle=planter.sentence("document", 60))]


def _even(text: str) -> bytes:
    return text.encode() + b" " * (len(text) % 2)


def _blocks(ds: Dataset, planter: Planter) -> None:
    """Private blocks of the makers: text, names, dates, blobs in UTF-16, sequences; and elements without a creator."""
    for group, creator in _MAKERS:
        block = ds.private_block(group | 1, creator, create=True)
        block.add_new(0x61, "LO", planter.sentence(f"{creator} LO", 64))
        block.add_new(0x62, "PN", planter.person(f"{creator} PN"))
        block.add_new(0x63, "DA", planter.day(f"{creator} DA"))
        wide = planter.name()
        planter.plants.append(type(planter.plants[0])("free text", f"{creator} UTF-16", wide.encode("utf-16-le")))
        block.add_new(0x64, "OB", wide.encode("utf-16-le"))
        block.add_new(0x65, "SQ", Sequence([item(PatientID=planter.identifier(f"{creator} SQ"))]))
    ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0D, "CS", planter.label("listed CS").upper())
    ds.add_new(0x00351001, "LO", planter.sentence("private element without creator", 64))
    ds.add_new(0x00370001, "LO", planter.sentence("private element below the creators", 64))


def _odd(ds: Dataset, planter: Planter) -> None:
    for tag in (0x00082301, 0x0010F001, 0x00187777, 0x00204321, 0x40107777, 0x7FDE0010, 0x50120110, 0x601E0022):
        ds.add_new(tag, "LO", planter.sentence(f"unknown {tag:08x}", 64))
    ds.add_new(0x601E3000, "OW", _even(planter.sentence("overlay 601E", 40)))
    ds.add_new(0x00100200, "UN", _even(planter.sentence("element as UN")))
    ds.add_new(0x00102297, "UN", _even(planter.person("ResponsiblePerson as UN")))
    ds.add_new(0x00181030, "UN", _even(planter.sentence("ProtocolName as UN", 60)))


def _look_up_table(ds: Dataset, planter: Planter) -> None:
    text = _even(planter.sentence("LUTData"))
    ds.VOILUTSequence = [
        item(LUTDescriptor=[len(text) // 2, 0, 16], LUTExplanation=planter.label("LUTExplanation"), LUTData=text)
    ]


def in_charset(ds: Dataset, charset: list[str], text: str, planter: Planter) -> None:
    """The same name in a PN, a description and a comment of an object in another character set."""
    ds.SpecificCharacterSet = charset
    ds.PatientName = ds.OperatorsName = text
    ds.SeriesDescription, ds.ImageComments = f"t1 {text} post", text
    encoded = encode_string(text, convert_encodings(charset))
    planter.plants.append(type(planter.plants[0])("name", f"{charset}", encoded))


CHARSETS = (
    (["ISO_IR 101"], "Kovácsőrz"), (["ISO_IR 110"], "Bērziņšlapa"), (["ISO_IR 127"], "قبانيلنزار"),
    (["ISO_IR 138"], "שרוןדבורה"), (["ISO_IR 148"], "Çavuşoğlu"), (["ISO_IR 166"], "สมชายใจดี"),
    (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞﾀﾛｳ"), (["ISO 2022 IR 6", "ISO 2022 IR 159"], "丂丄丅丌"),
    (["ISO 2022 IR 6", "ISO 2022 IR 58"], "王小东明"), (["GBK"], "王小东明"), (["GB18030"], "王小东明"),
    (["ISO_IR 192"], "Ωνάσηςабв"),
)  # fmt: skip


def with_comments(image: Dataset, planter: Planter) -> dict[str, bytes]:
    """Compressed copies whose code streams hold text, of an image of 64 by 64 and more. The keys are transfer syntaxes,
    the values encapsulated frames."""
    frames: dict[str, bytes] = {}
    for syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        ds = reparsed(deepcopy(image))
        ds.compress(syntax, generate_instance_uid=False)
        frame = next(generate_frames(ds.PixelData, number_of_frames=1))
        frames[syntax] = encapsulate([_spoil(frame, syntax, planter)])
    return frames


def _spoil(frame: bytes, syntax: str, planter: Planter) -> bytes:
    text = _even(planter.sentence(f"code stream of {UID(syntax).name}"))
    tail = _even(planter.sentence(f"behind the code stream of {UID(syntax).name}"))
    if syntax == RLELossless:
        name = planter.name()[:8].encode().ljust(8)
        planter.note("label", "RLE header", name.decode().strip())
        count = struct.unpack("<L", frame[:4])[0]
        return frame[: 4 * (count + 1)] + name + frame[4 * (count + 1) + 8 :]
    comment = struct.pack(">H", len(text) + 2) + text
    if syntax == JPEGLSLossless:
        return frame[:2] + b"\xff\xfe" + comment + b"\xff\xe9" + comment + frame[2:] + tail
    size = int.from_bytes(frame[4:6], "big")  # SIZ comes first
    note = b"\xff\x64" + struct.pack(">HH", len(text) + 4, 1) + text
    return frame[: 4 + size] + note + frame[4 + size :] + tail


def structure_set(images: list[Dataset], uids: dict[str, str], planter: Planter) -> Dataset:
    """An RTSTRUCT on the images; contours in their frame of reference, people and places in its texts."""
    ds = deepcopy(images[0])
    for tag in [tag for tag in ds.keys() if tag.group in (0x0018, 0x0028, 0x7FE0) or tag == 0x00209056]:  # noqa: SIM118
        del ds[tag]
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = RTStructureSetStorage, uids["rtss"], "RTSTRUCT"
    ds.SeriesInstanceUID, ds.FrameOfReferenceUID = uids["rtss_series"], images[0].FrameOfReferenceUID
    ds.StructureSetLabel, ds.StructureSetName = planter.label("StructureSetLabel"), f"GTV {planter.label('Name')}"
    ds.StructureSetDescription = planter.sentence("StructureSetDescription")
    ds.StructureSetDate, ds.StructureSetTime = images[0].StudyDate, "101010"
    pictures = [reference(MRImageStorage, image.SOPInstanceUID) for image in images]
    series = item(SeriesInstanceUID=images[0].SeriesInstanceUID, ContourImageSequence=pictures)
    study = reference("1.2.840.10008.3.1.2.3.1", images[0].StudyInstanceUID)
    study.RTReferencedSeriesSequence = [series]
    ds.ReferencedFrameOfReferenceSequence = [
        item(FrameOfReferenceUID=images[0].FrameOfReferenceUID, RTReferencedStudySequence=[study])
    ]
    ds.StructureSetROISequence = [
        item(ROINumber="1", ReferencedFrameOfReferenceUID=images[0].FrameOfReferenceUID,
             ROIGenerationAlgorithm="MANUAL",
             ROIName=f"tumor {planter.label('ROIName')}", ROIDescription=planter.sentence("ROIDescription"),
             ROIGenerationDescription=planter.sentence("ROIGenerationDescription", 60))
    ]  # fmt: skip
    contour = item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints="3",
                   ContourData=[0, 0, 1.25, 5, 0, 1.25, 5, 5, 1.25], ContourImageSequence=pictures[:1])  # fmt: skip
    ds.ROIContourSequence = [item(ReferencedROINumber="1", ROIDisplayColor=[255, 0, 0], ContourSequence=[contour])]
    ds.RTROIObservationsSequence = [
        item(ObservationNumber="1", ReferencedROINumber="1", RTROIInterpretedType="GTV",
             ROIInterpreter=planter.person("ROIInterpreter"), ROIObservationLabel=planter.label("ROIObservationLabel"),
             ROIObservationDescription=planter.sentence("ROIObservationDescription"))
    ]  # fmt: skip
    ds.ApprovalStatus, ds.ReviewerName = "APPROVED", planter.person("ReviewerName")
    ds.ReviewDate, ds.ReviewTime = images[0].StudyDate, "111111"
    return ds


def deepen(report: Dataset, planter: Planter) -> None:
    """Content items of every value type, four levels down, with people in each."""
    level = report
    for depth in range(4):
        items = [
            _content("TEXT", depth, planter, TextValue=planter.sentence(f"SR depth {depth}")),
            _content("PNAME", depth, planter, PersonName=planter.person(f"SR depth {depth}")),
            _content("UIDREF", depth, planter, UID=planter.uid(f"SR depth {depth}")),
            _content("DATE", depth, planter, Date=planter.day(f"SR depth {depth}")),
            _content("CODE", depth, planter,
                     ConceptCodeSequence=[code(planter.label("SR code"), "99HOSP", planter.sentence("SR code", 60))]),
        ]  # fmt: skip
        measured = item(NumericValue="4.5", MeasurementUnitsCodeSequence=[code("mm", "UCUM", planter.label("unit"))])
        items.append(_content("NUM", depth, planter, MeasuredValueSequence=[measured]))
        box = _content("CONTAINER", depth, planter, ContinuityOfContent="SEPARATE")
        level.ContentSequence = [*level.get("ContentSequence", []), *items, box]
        level = box
    level.ContentSequence = [_content("TEXT", 9, planter, TextValue="T1 brain")]


def _content(value_type: str, depth: int, planter: Planter, **values: object) -> Dataset:
    found = item(RelationshipType="CONTAINS", ValueType=value_type, **values)
    found.ConceptNameCodeSequence = [code("121071", "DCM", planter.sentence(f"SR concept {depth}", 60))]
    return found


def burned_in(image: Dataset, text: str) -> Dataset:
    """An 8-bit capture in the MR class that claims to have no text."""
    from PIL import Image, ImageDraw

    ds = deepcopy(image)
    picture = Image.new("L", (240, 60), 0)
    ImageDraw.Draw(picture).text((5, 20), text, fill=255)
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 60, 240, 8, 8, 7
    ds.PixelData, ds.BurnedInAnnotation = np.asarray(picture).tobytes(), "NO"
    ds["PixelData"].VR = "OB"
    return ds
