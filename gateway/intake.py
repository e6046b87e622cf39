"""What happens to an instance between its last byte and its C-STORE response: a cheap look, a file, an answer.

Nothing is parsed here and no database is asked; the file is handed to the index, which does both after the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from gateway.alike_structure import AlikeStructures
from gateway.associations import Carrier
from gateway.encoded_structure import Flaw, Outline, examine, flaw, outline
from gateway.errors import DatabaseNotReady, Retriable
from gateway.inbox import Growing, Inbox, InboxFile, sync
from gateway.part10 import EncodedInstance
from gateway.settings import Durability
from gateway.store_messages import StoreRequest
from gateway.store_status import (
    CANNOT_UNDERSTAND,
    DATA_SET_MISMATCH,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
    STATUS_OF,
    SUCCESS,
    Answer,
)

IN_MEMORY_BYTES = 8 * 2**20
"""A data set whose header alone is larger than this is written to its file without being looked at."""

_WELL = Answer(SUCCESS)
_NOBODY = Carrier("", "")
_log = structlog.get_logger(__name__)


class IndexLine(Protocol):
    """The way to the index: everything that one association says arrives there in order."""

    @property
    def stopped(self) -> bool:
        """True while the index cannot write: what comes in is refused for now."""

    def stored(self, file: InboxFile, carrier: Carrier) -> None: ...

    def ended(self, carrier: Carrier, *, released: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    abstract_syntax: str
    transfer_syntax_uid: str


@dataclass
class Intake:
    """Takes the instances of one association, one at a time; `carrier` is set when the association is admitted."""

    inbox: Inbox
    line: IndexLine
    durability: Durability
    carrier: Carrier = _NOBODY
    _growing: Growing | None = None
    _outline: Outline | None = None
    _refusal: Answer | None = None
    _unsynced: list[InboxFile] = field(default_factory=list)
    _alike: AlikeStructures = field(default_factory=AlikeStructures)
    _used: bool = False

    def spill(self, request: StoreRequest, context: Context, parts: Sequence[memoryview]) -> bool:
        """Take part of a data set that is not to be held in memory; more, and `take`, follow.

        False where its header has not come as a whole: nothing was taken, and it all has to be shown again.
        """
        if self._refusal is not None:
            return True
        try:
            if self._growing is None:
                return self._start_growing(request, context, parts)
            self._growing.write(parts)
        except Exception as error:  # noqa: BLE001 - the edge of the process: the sender is told after its last byte
            self._refusal = _failure(error)
            self.abandon()
        return True

    def take(self, request: StoreRequest, context: Context, parts: Sequence[memoryview]) -> Answer:
        """Take a whole data set, or its rest where the beginning was spilled, and say what to answer."""
        try:
            if self._refusal is not None:
                return self._refusal
            return self._take(request, context, parts)
        except Exception as error:  # noqa: BLE001 - the edge of the process: the sender is told, the service goes on
            return _failure(error)
        finally:
            self._refusal = None
            self.abandon()

    def settle(self) -> None:
        """Bring to the disk what was acknowledged, before a release is answered.

        Raises:
            StorageBroken: when that fails; the release must not be answered then.
        """
        waiting, self._unsynced = self._unsynced, []
        sync(waiting)

    def abandon(self) -> None:
        """Forget an instance that will not be completed."""
        growing, self._growing, self._outline = self._growing, None, None
        if growing is not None:
            growing.discard()

    def end(self, *, released: bool) -> None:
        """The association is over."""
        self.abandon()
        try:
            self.settle()
        except Retriable as problem:
            _log.error("instances could not be synced", error=type(problem).__name__)
        if self._used:
            self._used = False
            self.line.ended(self.carrier, released=released)

    def _take(self, request: StoreRequest, context: Context, parts: Sequence[memoryview]) -> Answer:
        now = self.durability is Durability.INSTANCE
        if self._growing is not None and self._outline is not None:
            self._growing.write(parts)
            growing, self._growing = self._growing, None
            length = growing.length - growing.header_length
            found = flaw(self._outline, length, request.sop_class_uid, request.sop_instance_uid)
            file = growing.finish(sync=now)
        elif not sum(map(len, parts)):
            return Answer(CANNOT_UNDERSTAND, "There is no data set.")
        else:
            self._require_index()
            uids = context.transfer_syntax_uid, request.sop_class_uid, request.sop_instance_uid
            found = examine(parts, *uids, self._alike.outline)
            file = self.inbox.put(self.carrier.key, [self._header(request, context), *parts], sync=now)
        self._hand_on(file)
        return _answer(found, request, context)

    def _start_growing(self, request: StoreRequest, context: Context, parts: Sequence[memoryview]) -> bool:
        self._require_index()
        self._outline = outline(parts[0], context.transfer_syntax_uid, whole=False)
        if self._outline.short:  # a header of many frames
            self._outline = outline(b"".join(parts), context.transfer_syntax_uid, whole=False)
        if self._outline.short:
            if sum(map(len, parts)) < IN_MEMORY_BYTES:
                return False
            self._outline.judged = False
        self._growing = self.inbox.begin(self.carrier.key)
        header = self._header(request, context)
        self._growing.header_length = len(header)
        self._growing.write([header, *parts])
        return True

    def _header(self, request: StoreRequest, context: Context) -> bytes:
        instance = EncodedInstance(
            request.sop_class_uid,
            request.sop_instance_uid,
            context.transfer_syntax_uid,
            self.carrier.source_ae,
            dataset=b"",
        )
        return instance.file_header()

    def _require_index(self) -> None:
        if self.line.stopped:
            raise DatabaseNotReady

    def _hand_on(self, file: InboxFile) -> None:
        self._used = True
        if not file.synced:
            self._unsynced.append(file)
        self.line.stored(file, self.carrier)


def _answer(found: Flaw | None, request: StoreRequest, context: Context) -> Answer:
    if found is not None:
        kind, sentence = found
        _log.warning("instance refused and kept", kind=kind.value)
        return Answer(STATUS_OF[kind], sentence)
    if request.sop_class_uid != context.abstract_syntax:
        return Answer(DATA_SET_MISMATCH, "The request names another SOP class than its context.")
    return _WELL


def _failure(error: Exception) -> Answer:
    if isinstance(error, Retriable):
        _log.error("instance refused", error=type(error).__name__, reason=str(error))
        return Answer(OUT_OF_RESOURCES, type(error).__name__)
    _log.error("instance failed", error=type(error).__name__, exc_info=error)
    return Answer(PROCESSING_FAILURE, "Internal error, see the log of the gateway")
