"""C-STORE on the wire: the request's command set taken apart, the response put together (PS3.7 9.3.1, PS3.8 9.3.5).

By hand, because a general DIMSE codec costs more processor time for each instance than everything else together.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from gateway.store_status import Answer

C_STORE_RQ = 0x0001
_C_STORE_RSP = 0x8001
_NO_DATA_SET = 0x0101
_SOP_CLASS, _COMMAND, _MESSAGE_ID, _RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _COMMENT, _SOP_INSTANCE = 0x0800, 0x0900, 0x0902, 0x1000
_HEADER = struct.Struct("<HHI")
_P_DATA_TF = 4
_LAST_COMMAND = 3
_COMMAND_FRAGMENT = 1


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE-RQ: what it says about the instance that follows, and what its response repeats."""

    context_id: int
    message_id: bytes
    sop_class: bytes
    sop_instance: bytes
    has_data_set: bool

    @property
    def sop_class_uid(self) -> str:
        return _text(self.sop_class)

    @property
    def sop_instance_uid(self) -> str:
        return _text(self.sop_instance)


def command_elements(command: bytes | bytearray) -> dict[int, bytes]:
    """The elements of a command set (Implicit VR Little Endian, group 0000) by element number.

    Raises:
        ValueError: when the bytes are no command set.
    """
    elements: dict[int, bytes] = {}
    at, end = 0, len(command)
    while at < end:
        if at + 8 > end:
            raise ValueError("a command element is cut short")
        group, element, length = _HEADER.unpack_from(command, at)
        at += 8
        if group != 0 or at + length > end:
            raise ValueError("the command set is damaged")
        elements[element] = bytes(command[at : at + length])
        at += length
    return elements


def store_request(elements: dict[int, bytes], context_id: int) -> StoreRequest | None:
    """The C-STORE request that a command set is, or None where it is another command or lacks what one must have."""
    if elements.get(_COMMAND) != b"\1\0":
        return None
    message_id, sop_class = elements.get(_MESSAGE_ID, b""), elements.get(_SOP_CLASS, b"")
    if len(message_id) != 2:
        return None
    data_set = elements.get(_DATA_SET_TYPE, b"\1\1")
    return StoreRequest(
        context_id,
        message_id,
        sop_class,
        elements.get(_SOP_INSTANCE, b""),
        int.from_bytes(data_set, "little") != _NO_DATA_SET,
    )


def has_data_set(elements: dict[int, bytes]) -> bool:
    return int.from_bytes(elements.get(_DATA_SET_TYPE, b"\1\1"), "little") != _NO_DATA_SET


def encoded_response(request: StoreRequest, answer: Answer, longest_pdu: int) -> bytes:
    """The P-DATA-TF PDU, or several where the peer takes `longest_pdu` bytes at most (0 = any), of a C-STORE-RSP."""
    elements = _first_elements(request.sop_class) + request.message_id + _status_elements(answer.status)
    if answer.comment:
        comment = answer.comment[:64].encode("ascii", "replace")
        elements += _element(_COMMENT, comment + b" " * (len(comment) % 2))
    elements += _element(_SOP_INSTANCE, request.sop_instance)
    command = _element(0x0000, struct.pack("<I", len(elements))) + elements
    if not longest_pdu or len(command) + 6 <= longest_pdu:
        return _pdu(request.context_id, _LAST_COMMAND, command)
    step = max(longest_pdu - 6, 2)
    starts = range(0, len(command), step)
    return b"".join(
        _pdu(
            request.context_id,
            _LAST_COMMAND if at + step >= len(command) else _COMMAND_FRAGMENT,
            command[at : at + step],
        )
        for at in starts
    )


@lru_cache(maxsize=64)
def _first_elements(sop_class: bytes) -> bytes:
    """Up to the number of the message that is responded to."""
    return _element(_SOP_CLASS, sop_class) + _number(_COMMAND, _C_STORE_RSP) + _HEADER.pack(0, _RESPONDED_TO, 2)


@lru_cache(maxsize=64)
def _status_elements(status: int) -> bytes:
    return _number(_DATA_SET_TYPE, _NO_DATA_SET) + _number(_STATUS, status)


def _pdu(context_id: int, control: int, content: bytes) -> bytes:
    return struct.pack(">BBIIBB", _P_DATA_TF, 0, len(content) + 6, len(content) + 2, context_id, control) + content


def _element(element: int, value: bytes) -> bytes:
    return _HEADER.pack(0, element, len(value)) + value


def _number(element: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0, element, 2, value)


def _text(uid: bytes) -> str:
    return uid.rstrip(b"\0 ").decode("ascii", "replace")[:64]
