"""Nothing is lost: many instances over several associations, counted at the sender, in the rows and in the files."""

from __future__ import annotations

import hashlib
import multiprocessing as mp
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from receiving.blast import LONGEST_PDU, store_all
from receiving.images import SmallImages
from receiving.peers import Peer


@dataclass(frozen=True)
class Count:
    """Acknowledged with success, in rows, in files whose SHA-256 is that of the row, and left in the inbox."""

    acknowledged: int
    rows: int
    missing_rows: int
    damaged_files: int
    left_in_inbox: int
    seconds: float
    settled_after_s: float
    rss_mb: Sequence[float]

    @property
    def lost(self) -> int:
        return self.missing_rows + self.damaged_files + self.left_in_inbox


def send_and_count(peer: Peer, folder: Path, instances: int, associations: int) -> Count:
    """Send to `peer`, whose data lie in `folder`, and look at what is there when it has come to rest."""
    context = mp.get_context("fork")
    results = context.SimpleQueue()
    begin = time.monotonic()
    senders = [
        context.Process(target=_send, args=[peer.port, number, instances // associations, results])
        for number in range(associations)
    ]
    for sender in senders:
        sender.start()
    rss, acknowledged = [peer.rss_mb()], set()
    while any(sender.is_alive() for sender in senders) or not results.empty():
        if results.empty():
            time.sleep(0.5)
            rss.append(peer.rss_mb())
        else:
            acknowledged |= results.get()
    for sender in senders:
        sender.join()
    seconds = time.monotonic() - begin
    peer.settle(timeout_s=1800)
    settled = time.monotonic() - begin - seconds
    rss.append(peer.rss_mb())
    rows = _rows(folder / "timepoint.db")
    store = folder / "objects" / "received"
    damaged = sum(1 for uid, blob in rows.items() if uid in acknowledged and not _is_whole(store, blob))
    left = sum(1 for _ in store.glob("inbox/*/*"))
    return Count(len(acknowledged), len(rows), len(acknowledged - rows.keys()), damaged, left, seconds, settled, rss)


def _send(port: int, number: int, count: int, results) -> None:  # type: ignore[no-untyped-def]
    images = SmallImages(number)
    results.put(store_all(port, images.instances(count), LONGEST_PDU))


def _rows(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return dict(connection.execute("SELECT sop_instance_uid, blob FROM instance"))


def _is_whole(store: Path, blob: str) -> bool:
    path = store / blob[:2] / blob
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == blob
