"""Fetching series by C-GET, Study Root (PS3.4 C.4.3): the images come back over the association that asked for them.

For that we are SCP of the storage classes on an association that we open (role selection, PS3.7 D.3.3.4). Image classes
are proposed in every transfer syntax, each compressed one in a context of its own, so that the archive transcodes
nothing; other classes uncompressed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context, build_role
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet  # type: ignore[attr-defined]

from gateway.dimse_client import UNCOMPRESSED, RemoteAe, associate, why_not
from gateway.part10 import EncodedInstance
from gateway.sop_classes import ACCEPTED, TRANSFER_SYNTAXES, WITH_PIXEL_DATA

Take = Callable[[EncodedInstance], int]
"""Takes an instance and says what C-STORE answers."""

NOT_OFFERED = "the archive does not offer C-GET"
_PENDING = (0xFF00, 0xFF01)
_WARNING = 0xB000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long fetching may take in all, and how large one instance may be."""

    seconds: float
    instance_bytes: int


@dataclass
class _Incoming:
    """What the archive sends back; the connection is ended when it goes beyond the limits."""

    take: Take
    source_ae: str
    limits: Limits
    problem: str = ""
    _began: float = field(default_factory=time.monotonic)
    _unfinished_bytes: int = 0
    _cut: socket.socket | None = None

    def store(self, event: evt.Event) -> int:
        self._unfinished_bytes = 0
        request, context = cast(C_STORE, event.request), event.context
        instance = EncodedInstance(
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(context.transfer_syntax),
            self.source_ae,
            request.DataSet.getvalue() if request.DataSet is not None else b"",
        )
        return self.take(instance)

    def watch(self, event: evt.Event) -> None:
        """Told of all bytes that come in, before they are put together to data sets."""
        if not event.assoc.is_established:
            return
        self._unfinished_bytes += len(event.data)
        if self._unfinished_bytes > self.limits.instance_bytes:
            self._end(event.assoc, "an instance is larger than web.max_instance_mb")
        elif time.monotonic() - self._began > self.limits.seconds:
            self._end(event.assoc, "the archive took too long")

    def _end(self, association: Association, problem: str) -> None:
        self.problem = self.problem or problem
        connection = association.dul.socket
        if connection is not None and connection.socket is not None:
            self._cut = connection.socket
            self._cut.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection that was ended here: pynetdicom forgets one that it could not shut down itself."""
        if self._cut is not None:
            self._cut.close()


def get_series(
    local_ae_title: str, remote: RemoteAe, study_instance_uid: str, series: Sequence[str], take: Take, limits: Limits
) -> str:
    """Fetch series of a study, giving each instance to `take`; returns what went wrong, or an empty text."""
    incoming = _Incoming(take, remote.ae_title.strip(), limits)
    assoc = associate(
        AE(ae_title=local_ae_title),
        remote,
        30.0,
        contexts=_contexts(),
        ext_neg=[build_role(sop_class, scp_role=True) for sop_class in ACCEPTED],
        handlers=[(evt.EVT_C_STORE, incoming.store), (evt.EVT_DATA_RECV, incoming.watch)],
    )
    if not assoc.is_established:
        return why_not(assoc)
    problem = ""
    try:
        for uid in series:
            problem = problem or _get(assoc, study_instance_uid, uid)
            if incoming.problem or not assoc.is_established:
                break
    finally:
        if assoc.is_established:
            assoc.abort() if incoming.problem else assoc.release()
        if assoc.dul.socket is not None:
            assoc.dul.socket.close()  # pynetdicom leaves one open that was not closed in order
        incoming.close()
    return incoming.problem or problem


def get_is_offered(local_ae_title: str, remote: RemoteAe) -> str | None:
    """Whether the peer would send images over our association; None when it would, else a sentence."""
    roles = [build_role(sop_class, scp_role=True) for sop_class in ACCEPTED]
    assoc = associate(AE(ae_title=local_ae_title), remote, 5.0, contexts=_contexts(), ext_neg=roles)
    if not assoc.is_established:
        return why_not(assoc)
    try:
        if not _offers_get(assoc):
            return NOT_OFFERED
        ours = any(c.as_scp for c in assoc.accepted_contexts if str(c.abstract_syntax) in WITH_PIXEL_DATA)
        return None if ours else "the archive refuses the role of the one who stores: it cannot send images by C-GET"
    finally:
        assoc.release()


def _contexts() -> list[PresentationContext]:
    compressed = [syntax for syntax in TRANSFER_SYNTAXES if syntax not in UNCOMPRESSED]
    return [
        build_context(StudyRootQueryRetrieveInformationModelGet),
        *(build_context(sop_class, [*UNCOMPRESSED]) for sop_class in ACCEPTED),
        *(build_context(c, syntax) for c in ACCEPTED if c in WITH_PIXEL_DATA for syntax in compressed),
    ]


def _offers_get(assoc: Association) -> bool:
    return any(c.abstract_syntax == StudyRootQueryRetrieveInformationModelGet for c in assoc.accepted_contexts)


def _get(assoc: Association, study_instance_uid: str, series_instance_uid: str) -> str:
    if not _offers_get(assoc):
        return NOT_OFFERED
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = study_instance_uid, series_instance_uid
    last: Any = Dataset()
    for last, _ in assoc.send_c_get(query, StudyRootQueryRetrieveInformationModelGet):
        if "Status" not in last:
            return "the archive did not answer C-GET in time"
        if last.Status not in _PENDING:
            break
    status = int(last.get("Status", 0))
    if status not in (0, _WARNING):
        return f"C-GET was refused with 0x{status:04X}"
    failed = int(last.get("NumberOfFailedSuboperations") or 0)
    return f"{failed} images could not be sent" if failed else ""
