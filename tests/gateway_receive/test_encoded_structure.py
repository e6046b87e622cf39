"""The look before the response: right about every syntax it judges, and silent about what it does not."""

from __future__ import annotations

from io import BytesIO

import pytest
from gateway_receive.mr_images import mr_image
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)

from gateway.encoded_structure import examine
from gateway.instance_facts import ViewStream
from gateway.tables import QuarantineKind

UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
SYNTAXES = pytest.mark.parametrize("syntax", UNCOMPRESSED)
PIECES = pytest.mark.parametrize("piece", [64, 1000, 10**9])


def image() -> Dataset:
    """With sequences of known and of unknown length, one in the other, before the pixel data."""
    ds = mr_image(study="1.2.3", series="1.2.3.1", number=1)
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "T-A0100", "Brain"
    outer.AnatomicRegionSequence = Sequence([inner, inner])
    ds.ReferencedImageSequence = Sequence([outer, outer])
    ds.AnatomicRegionSequence = Sequence([inner])
    ds["ReferencedImageSequence"].is_undefined_length = True
    ds.ReferencedImageSequence[0].is_undefined_length_sequence_item = True
    return ds


def bytes_of(ds: Dataset, syntax: str) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    write_dataset(buffer, ds)
    return buffer.getvalue()


def look(content: bytes, syntax: str, uid: str, piece: int = 10**9) -> QuarantineKind | None:
    parts = [memoryview(content)[at : at + piece] for at in range(0, len(content), piece)]
    found = examine(parts, syntax, MRImageStorage, uid)
    return found[0] if found else None


@SYNTAXES
@PIECES
def test_a_sound_image_is_let_through(syntax: str, piece: int) -> None:
    ds = image()
    assert look(bytes_of(ds, syntax), syntax, ds.SOPInstanceUID, piece) is None


@SYNTAXES
@PIECES
def test_no_beginning_of_an_image_is_a_whole_one(syntax: str, piece: int) -> None:
    ds = image()
    content = bytes_of(ds, syntax)
    for length in range(8, len(content) - 2, 37):
        assert look(content[:length], syntax, ds.SOPInstanceUID, piece) is not None, length


@SYNTAXES
@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"])
def test_a_missing_identifier_is_seen(syntax: str, keyword: str) -> None:
    ds = image()
    uid = str(ds.SOPInstanceUID)
    del ds[keyword]
    assert look(bytes_of(ds, syntax), syntax, uid) is QuarantineKind.MISSING_UID


@SYNTAXES
def test_what_the_request_does_not_say_is_seen(syntax: str) -> None:
    assert look(bytes_of(image(), syntax), syntax, "1.2.3.4") is QuarantineKind.CLASS_MISMATCH


@SYNTAXES
def test_too_few_pixels_are_seen(syntax: str) -> None:
    ds = image()
    ds.Rows = 17
    assert look(bytes_of(ds, syntax), syntax, ds.SOPInstanceUID) is QuarantineKind.TRUNCATED
    del ds.PixelData
    assert look(bytes_of(ds, syntax), syntax, ds.SOPInstanceUID) is QuarantineKind.NO_PIXEL_DATA


@PIECES
def test_compressed_pixels_must_end(piece: int) -> None:
    ds = image()
    content = bytes_of(ds, ExplicitVRLittleEndian)
    at = content.index(b"\xe0\x7f\x10\x00OW")
    items = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x04\0\0\0abcd"
    compressed = content[:at] + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + items
    end, padding = b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xfc\xff\xfc\xffOB\0\0\2\0\0\0\0\0"
    uid = str(ds.SOPInstanceUID)
    assert look(compressed + end, JPEG2000Lossless, uid, piece) is None
    assert look(compressed + end + padding, JPEG2000Lossless, uid, piece) is None
    assert look(compressed, JPEG2000Lossless, uid, piece) is QuarantineKind.TRUNCATED
    assert look((compressed + end)[:-3], JPEG2000Lossless, uid, piece) is QuarantineKind.TRUNCATED


def test_what_is_not_judged_is_left_to_the_index() -> None:
    assert look(b"deflated, whatever it is", DeflatedExplicitVRLittleEndian, "1.2.3") is None
    ds = image()
    content = bytes_of(ds, ExplicitVRLittleEndian).replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00ZZ")
    assert look(content, ExplicitVRLittleEndian, ds.SOPInstanceUID) is None


def test_a_view_reads_like_a_file() -> None:
    content = bytes(range(200))
    for one in (ViewStream(memoryview(content)), BytesIO(content)):
        assert (one.read(3), one.tell(), one.seek(-5, 2), one.read(), one.read(1)) == (
            content[:3], 3, 195, content[195:], b"",
        )  # fmt: skip
        assert (one.seek(10), one.seek(2, 1), one.read(2)) == (10, 12, content[12:14])
