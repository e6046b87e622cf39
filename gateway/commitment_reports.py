"""Storage commitment reports that archives send to our receiving node, on an association of their own.

Only a destination that is asked to commit may: others are not even offered the presentation context. Each report is
matched by its transaction, which must have gone to that destination.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]
from sqlalchemy import Engine

from gateway.admission import Admission
from gateway.commitment import take_report
from gateway.delivery_progress import to_be_committed
from gateway.settings import Dicom, Peer, Settings


class CommitmentReports:
    """What the receiving node adds to its contexts and handlers; both are empty while no destination has to commit."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._senders = {
            name: Admission(Dicom(peers=(Peer(ae_title=d.ae_title, host=d.host),)))
            for name, d in to_be_committed(settings).items()
        }

    @property
    def contexts(self) -> list[PresentationContext]:
        """The push model, in which the caller is the provider (role selection, PS3.7 D.3.3.4)."""
        if not self._senders:
            return []
        context = build_context(StorageCommitmentPushModel)
        context.scu_role, context.scp_role = False, True
        return [context]

    @property
    def handlers(self) -> list[tuple[Any, Callable[..., Any]]]:
        if not self._senders:
            return []
        return [(evt.EVT_REQUESTED, self._offer_to_senders_only), (evt.EVT_N_EVENT_REPORT, self._take)]

    def _offer_to_senders_only(self, event: evt.Event) -> None:
        if not self._sending(event):
            ours = event.assoc.acceptor.supported_contexts
            event.assoc.acceptor.supported_contexts = [
                c for c in ours if c.abstract_syntax != StorageCommitmentPushModel
            ]

    def _take(self, event: evt.Event) -> tuple[int, Dataset | None]:
        return take_report(self._engine, self._settings, self._sending(event), event.event_information), None

    def _sending(self, event: evt.Event) -> list[str]:
        """The destinations that the caller may be, by AE title and host."""
        request, caller = event.assoc.requestor.primitive, event.assoc.requestor.address_info
        if request is None or caller is None:
            return []
        calling_ae = str(request.calling_ae_title).strip()
        return [name for name, known in self._senders.items() if known.refusal(calling_ae, caller.address) is None]
