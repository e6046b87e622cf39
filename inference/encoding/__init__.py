"""Results as DICOM objects: SEG, measurement report, diameter report and forecast report of one study.

`encode_study` makes all of them from one `StudyResult` and refuses to return objects that disagree with each other.
"""

from inference.encoding.consistency import check
from inference.encoding.encoded_study import EncodedStudy, encode_study
from inference.encoding.errors import EncodingError, InconsistentResultError
from inference.encoding.identity import is_own_object
from inference.encoding.reading import ReadGroup, ReadNumber, read_report, read_segment_volumes

__all__ = [
    "EncodedStudy",
    "EncodingError",
    "InconsistentResultError",
    "ReadGroup",
    "ReadNumber",
    "check",
    "encode_study",
    "is_own_object",
    "read_report",
    "read_segment_volumes",
]
