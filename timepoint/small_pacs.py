"""A small PACS for the demonstration: it verifies, stores what it is sent, answers study queries and sends studies.

It keeps part-10 files in a folder and nothing else. For a demonstration and for tests; not an archive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

from gateway.tcp import no_delay


@dataclass(frozen=True)
class SmallPacs:
    """A running small PACS: its AE title, port and the folder that holds what was stored."""

    ae_title: str
    port: int
    folder: Path


class _Archive:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instances: dict[str, str] = {}
        self.patients: dict[str, str] = {}
        self._lock = Lock()

    def store(self, event: evt.Event) -> int:
        dataset = event.dataset
        uid = str(dataset.SOPInstanceUID)
        with self._lock:
            target = self.folder / f"{generate_uid(entropy_srcs=[uid])}.dcm"
            target.write_bytes(event.encoded_dataset())
            self.instances[uid] = str(dataset.StudyInstanceUID)
            self.patients[str(dataset.StudyInstanceUID)] = str(dataset.get("PatientID", ""))
        return 0x0000

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        wanted = str(event.identifier.get("StudyInstanceUID", ""))
        for study, count in Counter(self.instances.values()).items():
            if wanted in ("", study):
                answer = Dataset()
                answer.QueryRetrieveLevel = "STUDY"
                answer.StudyInstanceUID = study
                answer.PatientID = self.patients[study]
                answer.NumberOfStudyRelatedInstances = count
                yield 0xFF00, answer


@contextmanager
def running_small_pacs(folder: Path, ae_title: str = "SMALLPACS", port: int = 0) -> Iterator[SmallPacs]:
    """Run the PACS on loopback (a free port by default) until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = _Archive(folder)
    ae = AE(ae_title=ae_title)
    ae.maximum_pdu_size = 131072
    ae.add_supported_context(Verification)
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
    server = ae.start_server(
        ("127.0.0.1", port),
        block=False,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, no_delay),
            (evt.EVT_C_STORE, archive.store),
            (evt.EVT_C_FIND, archive.find),
        ],
    )
    if server is None or server.socket is None:
        raise OSError("the small PACS could not listen on loopback")
    try:
        yield SmallPacs(ae_title, server.socket.getsockname()[1], folder)
    finally:
        server.shutdown()
