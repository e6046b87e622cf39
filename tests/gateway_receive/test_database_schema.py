"""The schema: migrations give what the tables say, on both databases, and transactions keep what they promise."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from gateway_receive.node import Node
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from gateway.column_types import utc_now
from gateway.database import insert_or_ignore, open_database, read_scope, require_current, session_scope, upgrade
from gateway.errors import DatabaseNotReady, DatabaseOutdated
from gateway.tables import METADATA, CronSlot, Study, StudyState


def test_migrations_give_the_schema_of_the_tables(node: Node) -> None:
    with node.database.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_upgrade_again_and_from_several_at_once(database_url: str) -> None:
    engines = [open_database(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(upgrade, engines))
    require_current(engines[0])
    for engine in engines:
        engine.dispose()


def test_another_schema_version_is_refused(database_url: str) -> None:
    engine = open_database(database_url)
    with pytest.raises(DatabaseOutdated, match="none"):
        require_current(engine)
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseOutdated, match="9999"):
        require_current(engine)
    engine.dispose()


def test_rows_come_back_as_they_went_in(node: Node) -> None:
    at = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    with session_scope(node.database) as session:
        session.add(Study(study_instance_uid="1.2.3", due=at, evidence={"gaps": [1, None]}))
    (study,) = node.rows(Study)
    assert study.due == at
    assert study.due is not None
    assert study.due.utcoffset() == dt.timedelta(0)
    assert study.state is StudyState.RECEIVING
    assert study.evidence == {"gaps": [1, None]}
    assert study.study_key.startswith("s")


def test_a_time_without_zone_is_refused(node: Node) -> None:
    with pytest.raises(sa.exc.StatementError, match="needs a time zone"), session_scope(node.database) as session:
        session.add(Study(study_instance_uid="1.2.3", due=dt.datetime(2026, 3, 1)))  # noqa: DTZ001


def test_an_error_rolls_back(node: Node) -> None:
    with pytest.raises(RuntimeError), session_scope(node.database) as session:
        session.add(Study(study_instance_uid="1.2.3"))
        session.flush()
        raise RuntimeError
    assert node.rows(Study) == []


def test_insert_or_ignore_tells_whether_it_inserted(node: Node) -> None:
    slot = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    with session_scope(node.database) as session:
        assert insert_or_ignore(session, CronSlot(job="export", slot=slot))
        assert not insert_or_ignore(session, CronSlot(job="export", slot=slot))
        assert insert_or_ignore(session, CronSlot(job="housekeeping", slot=slot))
    assert len(node.rows(CronSlot)) == 2


def test_what_must_be_unique_is(node: Node) -> None:
    with session_scope(node.database) as session:
        session.add(Study(study_instance_uid="1.2.3"))
    with pytest.raises(IntegrityError), session_scope(node.database) as session:
        session.add(Study(study_instance_uid="1.2.3"))


def test_readers_do_not_wait_for_a_writer_and_do_not_see_it(node: Node) -> None:
    with session_scope(node.database) as writer:
        writer.add(Study(study_instance_uid="1.2.3"))
        writer.flush()
        with read_scope(node.database) as reader:
            assert reader.exec(select(Study)).all() == []
    assert len(node.rows(Study)) == 1


def test_read_modify_write_from_many_threads_loses_nothing(node: Node) -> None:
    with session_scope(node.database) as session:
        session.add(Study(study_instance_uid="1.2.3"))

    def count() -> None:
        for _ in range(10):
            with session_scope(node.database) as session:
                study = session.exec(select(Study).with_for_update()).one()
                study.instance_count += 1
                study.due = utc_now()
                session.add(study)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.study().instance_count == 80


def test_a_database_that_is_not_there_is_said_so() -> None:
    engine = open_database("postgresql+psycopg://timepoint@127.0.0.1:1/none")
    with pytest.raises(DatabaseNotReady):
        upgrade(engine)
