"""Silence says nothing about a study while an association that carries it is open, or broke off."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

from gateway_receive.mr_images import mr_series, mr_study
from gateway_receive.node import Node, wait_until
from gateway_receive.senders import associate, send
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.association import Association

from gateway.completion import close_due_studies
from gateway.database import session_scope
from gateway.process_tables import OpenAssociation
from gateway.tables import StudyState
from longitudinal.types import Contrast

STUDY = "1.2.826.0.1.3680043.10.7"
BOTH = (Contrast.T1C, Contrast.FLAIR)
QUIET, RETRY = dt.timedelta(seconds=62), dt.timedelta(seconds=301)


def close(node: Node, after: dt.timedelta) -> list[int]:
    """Revisions that are closed when so much time has passed and the closer asks each second, as it does."""
    node.settle()
    moment = dt.datetime.now(dt.UTC) + after
    rounds = [close_due_studies(node.database, node.settings, moment + s * dt.timedelta(seconds=1)) for s in range(5)]
    return [revision for closed in rounds for _, revision in closed]


def opened(port: int, calling: str = "PACS") -> Association:
    return associate(port, [(MRImageStorage, ExplicitVRLittleEndian)], calling=calling)


def broken_off(node: Node) -> bool:
    rows = node.rows(OpenAssociation)
    return bool(rows) and all(row.broke_at is not None for row in rows)


def test_a_study_waits_for_the_release_of_the_association_that_brings_it(node: Node) -> None:
    with node.listening() as scp:
        association = opened(scp.port)
        for image in mr_study(STUDY, BOTH):
            assert association.send_c_store(image).Status == 0
        assert close(node, QUIET) == []
        assert "1 association(s) still open" in node.study().reason
        association.release()
        wait_until(lambda: not node.rows(OpenAssociation))
    assert close(node, QUIET + dt.timedelta(seconds=5)) == [1]


def test_after_an_abort_the_sender_is_given_time_to_send_again(node: Node) -> None:
    with node.listening() as scp:
        association = opened(scp.port)
        for image in mr_study(STUDY, BOTH):
            association.send_c_store(image)
        association.abort()
        wait_until(lambda: broken_off(node))
    assert close(node, QUIET) == []
    assert "an association broke off" in node.study().reason
    assert close(node, RETRY) == [1]
    assert node.rows(OpenAssociation) == []


def test_a_sender_that_was_through_after_all_is_not_waited_for(node: Node) -> None:
    images = mr_study(STUDY, BOTH)
    with node.listening() as scp:
        association = opened(scp.port)
        for image in images:
            association.send_c_store(image)
        association.abort()
        wait_until(lambda: broken_off(node))
        assert set(send(scp.port, images)) == {0}  # nothing but copies
        wait_until(lambda: not node.rows(OpenAssociation))
    assert close(node, QUIET) == [1]


def test_another_series_that_was_under_way_is_no_second_try(node: Node) -> None:
    with node.listening() as scp:
        first, second = opened(scp.port), opened(scp.port)
        first.send_c_store(mr_series(STUDY, Contrast.T1C)[0])
        for image in mr_series(STUDY, Contrast.FLAIR):
            second.send_c_store(image)
        first.abort()
        wait_until(lambda: any(row.broke_at for row in node.rows(OpenAssociation)))
        second.release()
        wait_until(lambda: broken_off(node))
        assert len(node.rows(OpenAssociation)) == 1


def test_another_sender_is_no_second_try(node: Node) -> None:
    with node.listening() as scp:
        association = opened(scp.port)
        association.send_c_store(mr_series(STUDY, Contrast.T1C)[0])
        association.abort()
        wait_until(lambda: broken_off(node))
        send(scp.port, mr_series(STUDY, Contrast.FLAIR), calling="WORKSTATION")
        wait_until(lambda: broken_off(node))
        assert len(node.rows(OpenAssociation)) == 1


def test_a_killed_receiver_breaks_its_associations(node: Node) -> None:
    with node.listening() as scp:
        send(scp.port, mr_study(STUDY, BOTH))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with node.listening() as scp:
        association = opened(scp.port)
        for image in mr_series(STUDY, Contrast.T2):
            association.send_c_store(image)
        with session_scope(node.database) as session:
            for row in node.rows(OpenAssociation):
                session.merge(row).pid = dead.pid  # as if this process had been another one
        with node.listening():
            assert broken_off(node)
        association.abort()
    assert close(node, QUIET) == []
    assert close(node, RETRY) == [1]


def test_waiting_for_a_sender_ends_with_the_force_time(node: Node) -> None:
    with node.listening() as scp:
        association = opened(scp.port)
        association.send_c_store(mr_series(STUDY, Contrast.T1C)[0])
        assert close(node, dt.timedelta(hours=2)) == []
        assert node.study().state is StudyState.QUARANTINED
        association.release()
