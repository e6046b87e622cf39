"""The rejection note: a Key Object Selection that takes objects back which were stored for the wrong patient.

IHE Radiology, Imaging Object Change Management (RAD-66, "Rejected for Patient Safety Reasons"): an archive that
knows the profile hides what the note names; for any other it is a readable statement beside the objects.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard

from inference.encoding import identity
from inference.encoding.content_items import device_observer
from inference.encoding.source_headers import common_study, full_header, local_time, reference_header, stamp

SERIES_NUMBER = 99109
DESCRIPTION = "These objects belong to another patient. Do not use them."


def encode_rejection_note(rejected: Sequence[Dataset], revision: int, created: dt.datetime) -> Dataset:
    """The note on `rejected`, objects of one study with their full headers (pixels are not needed).

    It states the patient that the objects state: it is found beside them. `revision` of the study and `created`
    make it the same instance whenever it is made again.

    Raises:
        EncodingError: when the objects are of several studies.
    """
    study = common_study(rejected)
    first = rejected[0]
    names = sorted(str(ds.SOPInstanceUID) for ds in rejected)
    note = KeyObjectSelectionDocument(
        evidence=[full_header(first), *(reference_header(ds) for ds in rejected[1:])],
        content=KeyObjectSelection(
            document_title=standard.DCM.RejectedForPatientSafetyReasons,
            referenced_objects=[_target(ds) for ds in rejected],
            observer_device_context=device_observer(),
            description=DESCRIPTION,
        ),
        series_instance_uid=identity.deterministic_uid("series", "rejection", study),
        series_number=SERIES_NUMBER,
        sop_instance_uid=identity.deterministic_uid("instance", "rejection", study, str(revision), *names),
        instance_number=max(revision, 1),
        manufacturer=identity.MANUFACTURER,
        contributing_equipment=[identity.contributing_equipment(local_time(first, created))],
    )
    note.ManufacturerModelName = identity.MODEL_NAME
    note.SeriesDescription = "Timepoint rejection note"
    stamp(note, first, created)
    return note


def _target(ds: Dataset) -> Dataset:
    target = reference_header(ds)
    if "SegmentSequence" in ds:
        target.NumberOfFrames = ds.get("NumberOfFrames", 1)
    return target
