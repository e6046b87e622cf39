"""Part 10 files out of a `multipart/related` body as it comes in, one at a time (PS3.18 section 8.6.1, RFC 2387).

At most one part is in memory; a part above the limit ends the reading before more of it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

DICOM = "application/dicom"


class NotMultipartDicom(Exception):
    """The body is no multipart/related of application/dicom."""


class BrokenMultipart(Exception):
    """The body does not keep to the rules of multipart, or ends before its end."""


class PartTooLarge(Exception):
    """A part is larger than allowed."""


class DicomParts:
    """Splits a body whose header said `content_type`; give it each chunk and take the parts that are whole.

    Raises:
        NotMultipartDicom: for another kind of body.
    """

    def __init__(self, content_type: str, max_part_bytes: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        stated = options.get(b"type", DICOM.encode()).decode("latin-1").lower()
        if kind.lower() != b"multipart/related" or not boundary or stated != DICOM:
            raise NotMultipartDicom(f"the body must be multipart/related with type {DICOM} and a boundary")
        self._max = max_part_bytes
        self._part, self._header, self._value = bytearray(), bytearray(), bytearray()
        self._whole: list[bytes] = []
        self._ended = False
        self._begun = False
        self._start = b"--" + boundary
        self._before = b""
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._check_header,
                "on_part_data": self._take,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body; yields each part that they complete.

        Raises:
            BrokenMultipart: when the body does not keep to the rules.
            PartTooLarge: when a part goes beyond the limit.
            NotMultipartDicom: when a part says it is something else than DICOM.
        """
        if not self._begun:
            chunk = self._without_preamble(chunk)
        if chunk and not self._ended:
            try:
                self._parser.write(chunk)
            except MultipartParseError as error:
                raise BrokenMultipart("the body is no well-formed multipart") from error
        yield from self._whole
        self._whole.clear()

    def close(self) -> None:
        """Say that the body has ended.

        Raises:
            BrokenMultipart: when its closing boundary did not come.
        """
        if not self._ended:
            raise BrokenMultipart("the body ends before its closing boundary")

    def _without_preamble(self, chunk: bytes) -> bytes:
        """What precedes the first boundary is no part (RFC 2046 5.1.1); the parser wants it gone."""
        self._before += chunk
        at = self._before.find(self._start)
        if at < 0:
            if len(self._before) > 65536:
                raise BrokenMultipart("the body does not begin with its boundary")
            return b""
        self._begun = True
        return self._before[at:]

    def _begin(self) -> None:
        self._part = bytearray()

    def _check_header(self) -> None:
        name, value = bytes(self._header).lower(), bytes(self._value)
        self._header.clear()
        self._value.clear()
        if name == b"content-type" and parse_options_header(value)[0].lower() != DICOM.encode():
            raise NotMultipartDicom(f"each part must be {DICOM}")

    def _take(self, data: bytes, start: int, end: int) -> None:
        if len(self._part) + end - start > self._max:
            raise PartTooLarge(f"a part is larger than {self._max} bytes")
        self._part += data[start:end]

    def _end_part(self) -> None:
        self._whole.append(bytes(self._part))
        self._part = bytearray()

    def _end(self) -> None:
        self._ended = True
