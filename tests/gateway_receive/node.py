"""A receiving node with database and image store in a temporary folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from peers.waiting import await_condition
from sqlalchemy import Engine
from sqlmodel import select

from gateway.blobs import RECEIVED, BlobStore, open_blobs
from gateway.database import open_database, read_scope, upgrade
from gateway.settings import Settings
from gateway.storage_scp import StorageScp
from gateway.tables import Row, Study


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Return once `condition` holds; fail when it does not in time."""
    await_condition(condition, timeout_s, "the condition did not come true in time")


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass
class Node:
    """Settings, database and store of a node that `listening` puts on the network."""

    settings: Settings
    database: Engine
    received: BlobStore
    scps: list[StorageScp] = field(default_factory=list)

    def settle(self) -> None:
        """Return once everything that was acknowledged is in the rows."""
        for scp in self.scps:
            assert scp.wait_until_indexed(120), "the index did not catch up in time"

    def rows(self, table: type[AnyRow]) -> list[AnyRow]:
        self.settle()
        with read_scope(self.database) as session:
            return list(session.exec(select(table)).all())

    def study(self) -> Study:
        """The only study there is."""
        (study,) = self.rows(Study)
        return study

    @contextmanager
    def listening(self) -> Iterator[StorageScp]:
        scp = StorageScp(self.settings, self.database, self.received)
        scp.start()
        self.scps.append(scp)
        try:
            yield scp
        finally:
            self.scps.remove(scp)
            scp.stop()


def make_node(folder: Path, database_url: str = "", **sections: Any) -> Node:
    """A node on a free loopback port; `sections` are sections of the settings as mappings."""
    dicom = {"port": 0, "processes": 0, **sections.pop("dicom", {})}
    study = {"quiet_s": 60, **sections.pop("study", {})}
    database = {"url": database_url} if database_url else {}
    settings = Settings(data_dir=folder, dicom=dicom, study=study, database=database, **sections)
    engine = open_database(settings.database.url)
    upgrade(engine)
    storage = settings.storage
    return Node(settings, engine, open_blobs(storage.url, RECEIVED, storage.min_free_mb))
