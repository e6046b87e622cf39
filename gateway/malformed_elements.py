"""Elements that cannot be read count as not stated: they are taken out, so that the others still tell what they say."""

from __future__ import annotations

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataset import Dataset

from gateway.part10 import MALFORMED


def without_malformed(dataset: Dataset) -> Dataset:
    """The same data set, changed: elements whose value cannot be converted, and those that are a sequence where the
    standard has none or the reverse, are gone at every depth."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            sequence = element.VR == "SQ"
            if not tag.is_private and dictionary_has_tag(tag) and (dictionary_VR(tag) == "SQ") != sequence:
                del dataset[tag]
            elif sequence:
                for item in element.value or ():
                    without_malformed(item)
        except MALFORMED:
            del dataset[tag]
    return dataset
