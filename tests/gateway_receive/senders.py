"""Ways to send images to the node under test: pynetdicom in this process, DCMTK's storescu in another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from gateway.pynetdicom_race import guard
from gateway.tcp import no_delay

DCMTK_ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}


def associate(
    port: int, contexts: Sequence[tuple[str, str]], *, called: str = "TIMEPOINT", calling: str = "PACS"
) -> Association:
    """Open an association that proposes (SOP class, transfer syntax) pairs, each as a context of its own."""
    entity = AE(calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 120  # the test machine may be busy
    entity.requested_contexts = [build_context(c, s) for c, s in dict.fromkeys(contexts)]
    handlers: list[evt.EventHandlerType] = [(evt.EVT_CONN_OPEN, no_delay)]
    return guard(entity.associate("127.0.0.1", port, ae_title=called, evt_handlers=handlers))


def send(port: int, images: Sequence[Dataset], *, called: str = "TIMEPOINT", calling: str = "PACS") -> list[int]:
    """Send images over one association; the status of each, in order."""
    pairs = [(str(i.SOPClassUID), str(i.file_meta.TransferSyntaxUID)) for i in images]
    association = associate(port, pairs, called=called, calling=calling)
    if not association.is_established:
        raise ConnectionRefusedError("the association was rejected")
    try:
        return [int(association.send_c_store(image).Status) for image in images]
    finally:
        association.release()


def storescu(port: int, files: Sequence[Path], *options: str, called: str = "TIMEPOINT") -> tuple[int, str]:
    """Run DCMTK's storescu; its exit code and what it printed."""
    command = ["/usr/bin/storescu", "-v", "-aet", "PACS", "-aec", called, *options, "127.0.0.1", str(port)]
    done = subprocess.run(
        [*command, *map(str, files)], env=DCMTK_ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr
