"""From P-DATA to C-STORE: message fragments put together, and everything that is no C-STORE handed to pynetdicom."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pynetdicom.pdu_primitives import P_DATA

from gateway.intake import Context, Intake
from gateway.part10 import MALFORMED
from gateway.receiving_socket import ReceivingSocket
from gateway.store_messages import StoreRequest, command_elements, encoded_response, has_data_set, store_request
from gateway.store_status import CANNOT_UNDERSTAND, Answer

if TYPE_CHECKING:
    from pynetdicom.association import Association

_COMMAND, _LAST = 1, 2
_LONGEST_COMMAND = 2**16
_FIRST_LOOK_BYTES = 2**21
"""A data set that grows beyond this is written to its file while it comes in, if its header is here as a whole."""

_SPILL_BYTES = 2**19
"""Once it is being written, more of it goes there in such steps: what was just received is in the processor's cache."""

_MOST_FRAGMENTS = 4096
_LONGEST_OTHER_DATA_SET = 2**24
"""What another service may send us: storage commitment reports are the longest."""


class ProtocolError(Exception):
    """The peer sent something that has no place there; the association is aborted."""


class DataMessages:
    """The messages of one association, fragment by fragment, in the DUL thread."""

    def __init__(self, association: Association, connection: ReceivingSocket, intake: Intake) -> None:
        self._association, self._connection, self._intake = association, connection, intake
        self._command = bytearray()
        self._context_id = -1
        self._request: StoreRequest | None = None
        self._context = Context("", "")
        self._parts: list[memoryview] = []
        self._in_memory = self._joined = 0
        self._limit = _FIRST_LOOK_BYTES
        self._others_data = -1

    @property
    def inside_data_set(self) -> bool:
        """Whether a data set has begun and not ended: nothing is sent meanwhile."""
        return self._request is not None

    def take(self, content: memoryview) -> None:
        """Act on the presentation data values of a P-DATA-TF PDU.

        Raises:
            ProtocolError: when it is malformed or out of place.
            OSError: when the response cannot be sent.
        """
        at, end = 0, len(content)
        while at < end:
            if at + 6 > end:
                raise ProtocolError("a presentation data value is cut short")
            length, context_id, control = struct.unpack_from(">IBB", content, at)
            stop = at + 4 + length
            if length < 2 or stop > end:
                raise ProtocolError("a presentation data value has a wrong length")
            self._fragment(context_id, control, content[at + 6 : stop])
            at = stop
        if self._request is not None and self._in_memory > self._limit:
            if self._intake.spill(self._request, self._context, self._parts):
                self._limit = _SPILL_BYTES
                self._drop_parts()
            else:
                self._limit *= 2
        self._connection.pinned = bool(self._parts)

    def _fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        if control & _COMMAND:
            self._command_fragment(context_id, control, fragment)
        elif self._request is not None:
            self._data_fragment(context_id, control, fragment)
        elif self._others_data >= 0:
            self._others_fragment(context_id, control, fragment)
        else:
            raise ProtocolError("a data set came without a command")

    def _command_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        if self._request is not None or self._others_data >= 0:
            raise ProtocolError("a command came inside a data set")
        if self._command and context_id != self._context_id:
            raise ProtocolError("a command changed its presentation context")
        self._context_id = context_id
        self._command += fragment
        if len(self._command) > _LONGEST_COMMAND:
            raise ProtocolError("a command set is too long")
        if control & _LAST:
            command, self._command = bytes(self._command), bytearray()
            self._whole_command(context_id, command)

    def _whole_command(self, context_id: int, command: bytes) -> None:
        try:
            elements = command_elements(command)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        request = store_request(elements, context_id)
        if request is None:
            self._others_data = 0 if has_data_set(elements) else -1
            self._hand_over(context_id, _COMMAND | _LAST, command)
            return
        accepted = self._association._accepted_cx.get(context_id)
        if accepted is None:
            raise ProtocolError("a C-STORE came in a presentation context that was not accepted")
        if not request.has_data_set:
            self._respond(request, Answer(CANNOT_UNDERSTAND, "There is no data set."))
            return
        self._context = Context(str(accepted.abstract_syntax), str(accepted.transfer_syntax[0]))
        self._request = request

    def _data_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        request = self._request
        if request is None or context_id != request.context_id:
            raise ProtocolError("a data set changed its presentation context")
        if len(fragment):
            self._parts.append(fragment)
            self._in_memory += len(fragment)
            if len(self._parts) - self._joined >= _MOST_FRAGMENTS:
                self._join_fragments()
        if control & _LAST:
            self._request, self._limit = None, _FIRST_LOOK_BYTES
            answer = self._intake.take(request, self._context, self._parts)
            self._drop_parts()
            self._respond(request, answer)

    def _join_fragments(self) -> None:
        """A view takes 200 bytes: a sender of fragments of one byte must not fill the memory with them."""
        self._parts[self._joined :] = [memoryview(b"".join(self._parts[self._joined :]))]
        self._joined += 1
        self._connection.unpin()

    def _drop_parts(self) -> None:
        self._parts.clear()
        self._in_memory = self._joined = 0
        self._connection.unpin()

    def _others_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        self._others_data += len(fragment)
        if self._others_data > _LONGEST_OTHER_DATA_SET:
            raise ProtocolError("a data set of another service is too long")
        self._hand_over(context_id, control, bytes(fragment))
        if control & _LAST:
            self._others_data = -1

    def _hand_over(self, context_id: int, control: int, fragment: bytes) -> None:
        primitive = P_DATA()
        # a list within, whatever its annotation says
        primitive.presentation_data_value_list = [[context_id, bytes([control]) + fragment]]  # type: ignore[list-item]
        try:
            self._association.dimse.receive_primitive(primitive)
        except MALFORMED as error:
            raise ProtocolError("a command set cannot be read") from error

    def _respond(self, request: StoreRequest, answer: Answer) -> None:
        longest = self._association.requestor.maximum_length or 0
        self._connection.send_now(encoded_response(request, answer, longest))
