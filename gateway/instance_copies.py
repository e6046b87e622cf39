"""Is a second copy of an instance the same image in other bytes, or another image under the same UID?"""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from gateway.instance_facts import PIXEL_TAGS, inflated
from gateway.part10 import MALFORMED, EncodedInstance

# What a change of transfer syntax may rightly change (PS3.5 8.2, PS3.3 C.7.6.1.1.5).
_FOLLOWS_ENCODING = PIXEL_TAGS | {0x00280004, 0x00280006, 0x00282110, 0x00282112, 0x00282114}


def same_content(first: EncodedInstance, second: EncodedInstance) -> bool:
    """Whether two copies say the same: equal elements, whatever the lengths and padding of the encoding.

    Copies in different transfer syntaxes are compared by their standard attributes without the pixels, which a
    lossless re-encoding leaves as they are and which are not decoded here. Elements that cannot be read are not equal.
    """
    if first.sop_class_uid != second.sop_class_uid:
        return False
    recoded = first.transfer_syntax_uid != second.transfer_syntax_uid
    try:
        one, other = _elements(first), _elements(second)
        tags = (one.keys() | other.keys()) - (_FOLLOWS_ENCODING if recoded else frozenset())
        compared = (t for t in tags if t.element and not (recoded and t.is_private))
        return all(t in one and t in other and one[t] == other[t] for t in compared)
    except MALFORMED:
        return False


def _elements(instance: EncodedInstance) -> Dataset:
    syntax = UID(instance.transfer_syntax_uid)
    content = inflated(instance.dataset) if syntax == DeflatedExplicitVRLittleEndian else instance.dataset
    return read_dataset(BytesIO(content), syntax.is_implicit_VR, syntax.is_little_endian)
