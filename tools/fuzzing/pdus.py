"""PDUs and DIMSE command sets by hand, right ones and the parts of wrong ones (PS3.8 9.3, PS3.7 6.3 and 9.3)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tools.fuzzing.elements import EXPLICIT
from tools.fuzzing.mr_data_sets import MR

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
WITH_DATA_SET, WITHOUT_DATA_SET = 0x0001, 0x0101


def pdu(kind: int, content: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BBI", kind, 0, len(content) if length is None else length) + content


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def associate_rq(
    contexts: Sequence[tuple[int, str, str]] = ((1, MR, EXPLICIT), (3, VERIFICATION, EXPLICIT)),
    called: bytes = b"TIMEPOINT",
    calling: bytes = b"FUZZER",
    maximum: int = 16384,
) -> bytes:
    """An A-ASSOCIATE-RQ that proposes (context ID, abstract syntax, transfer syntax)."""
    proposed = b"".join(
        item(0x20, struct.pack("BBBB", number, 0, 0, 0) + item(0x30, abstract.encode()) + item(0x40, transfer.encode()))
        for number, abstract, transfer in contexts
    )
    user = item(0x51, struct.pack(">I", maximum)) + item(0x52, b"1.2.826.0.1.3680043.10.9") + item(0x55, b"FUZZ")
    head = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16), calling.ljust(16))
    return pdu(ASSOCIATE_RQ, head + item(0x10, APPLICATION_CONTEXT) + proposed + item(0x50, user))


def release_rq() -> bytes:
    return pdu(RELEASE_RQ, bytes(4))


def abort() -> bytes:
    return pdu(ABORT, bytes(4))


def pdv(context_id: int, control: int, content: bytes, length: int | None = None) -> bytes:
    """A presentation data value; `control`: 1 command, 2 last."""
    return struct.pack(">IBB", len(content) + 2 if length is None else length, context_id, control) + content


def element(number: int, value: bytes, length: int | None = None, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value) if length is None else length) + value


def command_set(elements: Sequence[bytes], group_length: int | None = None) -> bytes:
    content = b"".join(elements)
    return element(0, struct.pack("<I", len(content) if group_length is None else group_length)) + content


def even(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)


def store_elements(message_id: int, sop_class: str, sop_instance: str) -> list[bytes]:
    return [
        element(0x0002, even(sop_class)),
        element(0x0100, struct.pack("<H", C_STORE_RQ)),
        element(0x0110, struct.pack("<H", message_id)),
        element(0x0700, struct.pack("<H", 0)),
        element(0x0800, struct.pack("<H", WITH_DATA_SET)),
        element(0x1000, even(sop_instance)),
    ]


def echo(message_id: int = 7, context_id: int = 3) -> bytes:
    """A C-ECHO-RQ in a P-DATA-TF PDU."""
    elements = [
        element(0x0002, even(VERIFICATION)),
        element(0x0100, struct.pack("<H", C_ECHO_RQ)),
        element(0x0110, struct.pack("<H", message_id)),
        element(0x0800, struct.pack("<H", WITHOUT_DATA_SET)),
    ]
    return pdu(P_DATA, pdv(context_id, 3, command_set(elements)))


def fragments(context_id: int, content: bytes, step: int, command: bool) -> list[bytes]:
    """The presentation data values of a message part, `step` bytes in each."""
    starts = range(0, max(len(content), 1), step)
    flag = 1 if command else 0
    return [pdv(context_id, flag | (2 if at + step >= len(content) else 0), content[at : at + step]) for at in starts]


def responses(received: bytes) -> list[dict[int, bytes]]:
    """Command sets of the P-DATA-TF PDUs in what was received, unfragmented ones.

    Raises:
        ValueError: when it is no sequence of whole PDUs with whole command sets.
    """
    found, at = [], 0
    while at < len(received):
        if at + 6 > len(received):
            raise ValueError("a PDU is cut short")
        kind, _, length = struct.unpack_from(">BBI", received, at)
        content = received[at + 6 : at + 6 + length]
        if len(content) < length:
            raise ValueError("a PDU is cut short")
        if kind == P_DATA:
            found.append(_elements(content[6:]))
        at += 6 + length
    return found


def _elements(command: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(command):
        group, number, length = struct.unpack_from("<HHI", command, at)
        if group or at + 8 + length > len(command):
            raise ValueError("a command set is damaged")
        found[number] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return found
