"""The audit trail: complete, in order, and telling when somebody changed it."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from gateway_receive.node import Node

from gateway import audit
from gateway.database import read_scope, session_scope
from gateway.errors import AuditBroken
from gateway.tables import Audit


def fill(node: Node, links: int = 5) -> None:
    with session_scope(node.database) as session:
        for number in range(links):
            audit.append(session, "user-1", "study.complete", f"s{number}", {"revision": number, "note": "ü"})


def test_an_untouched_trail_verifies(node: Node) -> None:
    fill(node)
    with read_scope(node.database) as session:
        assert audit.verify(session) == 5
        assert audit.last_hash(session) == node.rows(Audit)[-1].hash


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("UPDATE audit SET actor = 'somebody' WHERE seq = 3", "Link 3 was changed"),
        ("UPDATE audit SET detail = '{}' WHERE seq = 2", "Link 2 was changed"),
        ("UPDATE audit SET at = '2020-01-01 00:00:00' WHERE seq = 4", "Link 4 was changed"),
        ("DELETE FROM audit WHERE seq = 2", "Link 2 is missing"),
        ("DELETE FROM audit WHERE seq = 1", "Link 1 is missing"),
    ],
)
def test_a_change_is_found(node: Node, change: str, complaint: str) -> None:
    fill(node)
    with node.database.begin() as connection:
        connection.execute(sa.text(change))
    with read_scope(node.database) as session, pytest.raises(AuditBroken, match=complaint):
        audit.verify(session)


def test_a_rolled_back_act_leaves_no_link(node: Node) -> None:
    with pytest.raises(RuntimeError), session_scope(node.database) as session:
        audit.append(session, "user-1", "study.complete")
        raise RuntimeError
    fill(node, 1)
    with read_scope(node.database) as session:
        assert audit.verify(session) == 1


def test_many_writers_make_one_chain(node: Node) -> None:
    threads = [threading.Thread(target=fill, args=[node]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with read_scope(node.database) as session:
        assert audit.verify(session) == 40
