"""DIMSE service class user: C-ECHO and C-STORE to a destination (PS3.4 Annex A and B, PS3.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from gateway.client_tls import ClientTls, client_context
from gateway.pynetdicom_race import guard
from gateway.settings import Destination, Peer
from gateway.tcp import no_delay

UNCOMPRESSED = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_WARNINGS_STORED = {0xB000, 0xB006, 0xB007}


@dataclass(frozen=True, slots=True)
class RemoteAe:
    """An application entity to talk to, over TLS where `tls` says how."""

    ae_title: str
    host: str
    port: int
    tls: ClientTls | None = None

    @classmethod
    def of(cls, node: Peer | Destination) -> RemoteAe:
        return cls(node.ae_title, node.host, node.port, node.tls)


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """What became of one C-STORE. `retriable` says that the same request may succeed later."""

    sop_instance_uid: str
    stored: bool
    retriable: bool
    detail: str


def associate(
    ae: AE,
    remote: RemoteAe,
    timeout_s: float,
    *,
    contexts: list[PresentationContext] | None = None,
    ext_neg: list[SCP_SCU_RoleSelectionNegotiation] | None = None,
    handlers: Sequence[evt.EventHandlerType] = (),
) -> Association:
    """Request an association; the caller looks at `is_established`. Without `contexts` those of `ae` are proposed."""
    ae.acse_timeout = ae.connection_timeout = timeout_s
    ae.dimse_timeout = ae.network_timeout = 4 * timeout_s
    association = ae.associate(
        remote.host,
        remote.port,
        ae_title=remote.ae_title,
        max_pdu=131072,
        contexts=contexts,
        ext_neg=[*ext_neg] if ext_neg else None,
        evt_handlers=[(evt.EVT_CONN_OPEN, no_delay), *handlers],
        tls_args=(client_context(remote.tls), remote.tls.server_name or remote.host) if remote.tls else None,
    )
    return guard(association)


def why_not(assoc: Association) -> str:
    """Why an association was not established, in a sentence."""
    if assoc.is_rejected:
        return "the association was rejected: check the AE titles and the peer's list of known nodes"
    if assoc.rejected_contexts:
        return "the peer accepts none of these SOP classes in a transfer syntax of ours"
    if assoc.is_aborted:
        return "the connection failed or was aborted: check host, port, firewall and, with TLS, the certificates"
    return "no association"


def echo(local_ae_title: str, remote: RemoteAe, timeout_s: float = 5.0) -> str | None:
    """C-ECHO. Returns None when it succeeded, else a sentence that tells what is wrong."""
    ae = AE(ae_title=local_ae_title)
    ae.add_requested_context(Verification)
    assoc = associate(ae, remote, timeout_s)
    if not assoc.is_established:
        return why_not(assoc)
    try:
        status = assoc.send_c_echo()
    finally:
        assoc.release()
    return None if status and status.Status == 0 else "the peer did not answer C-ECHO with success"


def accepts(local_ae_title: str, remote: RemoteAe, sop_class: str, timeout_s: float = 5.0) -> bool | None:
    """Whether the peer takes a storage SOP class (PS3.8 7.1.1.14), told by negotiation alone; None where it does not
    say, because no association came about."""
    ae = AE(ae_title=local_ae_title)
    ae.add_requested_context(sop_class, UNCOMPRESSED)
    ae.add_requested_context(Verification)
    assoc = associate(ae, remote, timeout_s)
    if not assoc.is_established:
        return False if assoc.rejected_contexts else None
    accepted = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
    assoc.release()
    return sop_class in accepted


def store(
    local_ae_title: str,
    remote: RemoteAe,
    files: Sequence[Path],
    on_stored: Callable[[str], None] | None = None,
    timeout_s: float = 15.0,
) -> list[StoreOutcome]:
    """C-STORE part-10 files over one association; `on_stored` is told each SOP Instance UID as it is stored."""
    wanted: dict[tuple[str, str], None] = {}
    metas = []
    for file in files:
        meta = pydicom.dcmread(file, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).file_meta
        metas.append((str(meta.MediaStorageSOPClassUID), str(meta.MediaStorageSOPInstanceUID)))
        wanted[(metas[-1][0], str(meta.TransferSyntaxUID))] = None
    ae = AE(ae_title=local_ae_title)
    for sop_class, syntax in wanted:
        ae.add_requested_context(sop_class, UNCOMPRESSED if syntax in UNCOMPRESSED else [syntax])
    assoc = associate(ae, remote, timeout_s)
    if not assoc.is_established:
        reason = why_not(assoc)
        return [StoreOutcome(uid, False, not assoc.rejected_contexts, reason) for _, uid in metas]
    accepted = {str(c.abstract_syntax) for c in assoc.accepted_contexts}
    outcomes = []
    try:
        for file, (sop_class, uid) in zip(files, metas, strict=True):
            if sop_class not in accepted:
                outcomes.append(StoreOutcome(uid, False, False, f"the peer does not accept SOP class {sop_class}"))
                continue
            outcome = _store_one(assoc, file, uid)
            if outcome is None:
                # pynetdicom would send on into the lost connection, and wait for its time-out with each file
                left = metas[len(outcomes) :]
                return [*outcomes, *(StoreOutcome(u, False, True, "the peer did not answer") for _, u in left)]
            outcomes.append(outcome)
            if outcome.stored and on_stored:
                on_stored(uid)
    finally:
        if assoc.is_established:
            assoc.release()
    return outcomes


def _store_one(assoc: Association, file: Path, uid: str) -> StoreOutcome | None:
    """C-STORE of one file; None when the connection was lost or the peer did not answer in time."""
    try:
        response: Any = assoc.send_c_store(file)
    except (RuntimeError, ValueError) as error:
        return StoreOutcome(uid, False, assoc.is_aborted or not assoc.is_established, str(error))
    if "Status" not in response:
        return None
    status = int(response.Status)
    if status == 0 or status in _WARNINGS_STORED:
        return StoreOutcome(uid, True, False, f"0x{status:04X}")
    return StoreOutcome(uid, False, 0xA700 <= status <= 0xA7FF or status == 0x0122, f"refused with 0x{status:04X}")
