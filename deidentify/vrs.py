"""The VR of an element that has not been decoded, also in implicit VR."""

from __future__ import annotations

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag


def vr_of(ds: Dataset, tag: BaseTag) -> str:
    """The VR in the file, else that of the dictionary, else `UN`."""
    vr = ds.get_item(tag).VR
    if vr and vr != "UN":
        return str(vr)
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "LO" if tag.is_private_creator else "UN"
