"""When disk or database fail, the sender is told to try again (A700), nothing is lost, and it goes on by itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
from gateway_receive.mr_images import mr_image, mr_series
from gateway_receive.node import Node, make_node, wait_until
from gateway_receive.senders import associate, send
from peers.postgres import PostgresCluster, running_postgres
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from sqlalchemy import event

from gateway.database import BUSY_TIMEOUT_S, open_database, session_scope
from gateway.errors import DatabaseNotReady
from gateway.part10 import read_part10
from gateway.tables import Instance, Quarantine
from longitudinal.types import Contrast

STUDY = "1.2.840.99.1"


def test_a_broken_image_store_is_told_and_recovers(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    inbox = node.received.folder / "inbox"
    with node.listening() as scp:
        association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)])
        inbox.rename(tmp_path / "aside")
        inbox.write_text("where the folder should be")
        refused = association.send_c_store(mr_image(study=STUDY, series=STUDY, number=1))
        assert (refused.Status, refused.ErrorComment) == (0xA700, "StorageBroken")
        inbox.unlink()
        (tmp_path / "aside").rename(inbox)
        assert association.send_c_store(mr_image(study=STUDY, series=STUDY, number=1)).Status == 0
        association.release()
    assert len(node.rows(Instance)) == 1


def test_while_the_database_is_locked_nothing_acknowledged_is_lost_and_more_is_refused(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    event.listen(node.database, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 200"))
    node.database.dispose()
    first, second = mr_series(STUDY, Contrast.T1C, 2)
    with node.listening() as scp:
        other = sqlite3.connect(tmp_path / "data" / "timepoint.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert send(scp.port, [first]) == [0]  # its file is safe; nobody asked the database yet
        wait_until(lambda: not scp.accepts)
        assert send(scp.port, [second]) == [0xA700]
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: scp.accepts)
        assert send(scp.port, [second]) == [0]
    assert len(node.rows(Instance)) == 2
    assert len(list(node.received.keys())) == 2


@pytest.mark.peer
def test_a_database_that_went_away_is_told_and_recovers(tmp_path: Path, postgres: PostgresCluster) -> None:
    url = postgres.new_database()
    name = url.rsplit("/", 1)[1]
    node = make_node(tmp_path / "data", url)
    images = mr_series(STUDY, Contrast.T1C, 3)
    administer = f"host=127.0.0.1 port={postgres.port} user=timepoint dbname=postgres"
    with node.listening() as scp, psycopg.connect(administer, autocommit=True) as administrator:
        assert send(scp.port, images[:1]) == [0]
        node.settle()
        administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')  # type: ignore[arg-type]
        administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        assert send(scp.port, images[1:2]) == [0]
        wait_until(lambda: not scp.accepts)
        assert send(scp.port, images[2:]) == [0xA700]
        administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')  # type: ignore[arg-type]
        wait_until(lambda: scp.accepts)
        assert send(scp.port, images[1:]) == [0, 0]
    assert len(node.rows(Instance)) == 3
    node.database.dispose()


@pytest.mark.peer
def test_a_database_server_that_crashes_and_comes_back_costs_no_image(tmp_path: Path) -> None:
    images = mr_series(STUDY, Contrast.T1C, 6)
    with running_postgres() as cluster:
        node = make_node(tmp_path / "data", cluster.new_database())
        with node.listening() as scp:
            assert send(scp.port, images[:2]) == [0, 0]
            node.settle()
            for left in (images[2:4], images[4:]):
                cluster.stop()
                (first,) = send(scp.port, left[:1])
                assert first in (0, 0xA700), "its file is safe, or the crash was noticed before"
                wait_until(lambda: not scp.accepts)
                assert send(scp.port, left[1:]) == [0xA700]
                cluster.start()
                wait_until(lambda: scp.accepts)
                again = left if first else left[1:]
                assert send(scp.port, again) == [0] * len(again)
                node.settle()
        assert len(node.rows(Instance)) == 6
        node.database.dispose()


@pytest.mark.slow
def test_a_database_that_is_locked_for_longer_than_anybody_waits_costs_no_image(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    images = mr_series(STUDY, Contrast.T1C, 40)
    with node.listening() as scp:
        other = sqlite3.connect(tmp_path / "data" / "timepoint.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert send(scp.port, images[:20]) == [0] * 20
        wait_until(lambda: not scp.accepts, BUSY_TIMEOUT_S + 30)
        assert send(scp.port, images[20:]) == [0xA700] * 20
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: scp.accepts, BUSY_TIMEOUT_S)
        assert send(scp.port, images[20:]) == [0] * 20
    assert len(node.rows(Instance)) == 40


def test_an_error_of_ours_is_a_processing_failure_and_the_service_lives(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = mr_image(study=STUDY, series=STUDY, number=1)
    with node.listening() as scp:
        with monkeypatch.context() as patch:
            patch.setattr("gateway.intake.examine", fails)
            association = associate(scp.port, [(MRImageStorage, ExplicitVRLittleEndian)])
            refused = association.send_c_store(image)
            assert refused.Status == 0x0110
            assert "Doe" not in refused.ErrorComment
        assert association.send_c_store(image).Status == 0
        association.release()


def test_an_error_of_ours_in_the_index_sets_one_instance_aside_and_no_other(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = mr_series(STUDY, Contrast.T1C, 4)
    with node.listening() as scp:
        with monkeypatch.context() as patch:
            patch.setattr("gateway.arrived_files.read_facts", fails)
            assert send(scp.port, [first]) == [0]
            node.settle()
        assert send(scp.port, others) == [0, 0, 0]
    (item,) = node.rows(Quarantine)
    assert "ZeroDivisionError" in item.reason
    assert "Doe" not in item.reason
    assert item.blob
    assert read_part10(node.received.read(item.blob)).sop_instance_uid == first.SOPInstanceUID
    assert len(node.rows(Instance)) == 3


def fails(*_: object) -> None:
    raise ZeroDivisionError("Doe^Jane")


def test_the_reason_is_in_words_and_without_values() -> None:
    engine = open_database("postgresql+psycopg://timepoint@127.0.0.1:1/none")
    with pytest.raises(DatabaseNotReady, match="connection failed") as caught, session_scope(engine) as session:
        session.connection()
    assert caught.value.explanation.startswith("The database does not answer or is locked")


def test_a_file_that_left_the_inbox_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    node = make_node(tmp_path / "data")
    first, *others = mr_series(STUDY, Contrast.T1C, 3)
    event.listen(node.database, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout = 200"))
    node.database.dispose()
    with node.listening() as scp:
        other = sqlite3.connect(tmp_path / "data" / "timepoint.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert send(scp.port, [first]) == [0]
        wait_until(lambda: not scp.accepts)
        (file,) = (node.received.folder / "inbox").glob("*/*")
        file.unlink()
        other.execute("ROLLBACK")
        other.close()
        wait_until(lambda: scp.accepts)
        assert send(scp.port, others) == [0, 0]
    assert len(node.rows(Instance)) == 2
