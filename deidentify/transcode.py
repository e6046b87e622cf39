"""Byte order: big endian and deflated objects leave as explicit VR little endian, all others as they came."""

from __future__ import annotations

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from deidentify.elements import tags_of
from deidentify.errors import RefusalCode, Refused

_WORDS = {"OW": "u2", "OF": "u4", "OL": "u4", "OD": "u8", "OV": "u8"}


def output_syntax(ds: Dataset) -> UID:
    """The transfer syntax in which the result is written."""
    syntax = UID(str(ds.file_meta.get("TransferSyntaxUID", ""))) if hasattr(ds, "file_meta") else UID("")
    if not syntax:
        raise Refused(RefusalCode.MISSING_ATTRIBUTE, "the file meta information names no Transfer Syntax")
    if syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        return ExplicitVRLittleEndian
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise Refused(RefusalCode.UNREADABLE, "the transfer syntax is not one of the standard's")
    return syntax


def to_little_endian(ds: Dataset) -> Dataset:
    """`ds` itself, or for big endian a decoded copy whose binary words are swapped."""
    if ds.original_encoding[1] is not False:
        return ds
    out = Dataset()
    for tag in tags_of(ds):
        element = ds[tag]
        if element.VR == "SQ":
            items = Sequence([to_little_endian(item) for item in element.value])
            out[tag] = DataElement(tag, "SQ", items)
        elif element.VR in _WORDS and element.value:
            words = np.frombuffer(element.value, f">{_WORDS[element.VR]}")
            out[tag] = DataElement(tag, element.VR, words.byteswap().tobytes())
        else:
            out[tag] = element
    return out
