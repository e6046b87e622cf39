"""Malformed input: pydicom decodes late and raises what it likes; here it becomes a refusal."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import BytesLengthException, InvalidDicomError

from deidentify.errors import RefusalCode, Refused

PARSER_ERRORS = (
    AttributeError, BytesLengthException, EOFError, IndexError, KeyError, NotImplementedError, OSError, OverflowError,
    RecursionError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip
"""What pydicom raises on malformed input, besides InvalidDicomError."""


@contextmanager
def parsing() -> Iterator[None]:
    """Turn an error of the parser into `Refused`, without its message, which may quote a value."""
    try:
        yield
    except InvalidDicomError:
        raise Refused(RefusalCode.NOT_DICOM, "not a DICOM file") from None
    except PARSER_ERRORS as error:
        raise Refused(RefusalCode.UNREADABLE, f"the file cannot be parsed ({type(error).__name__})") from None
