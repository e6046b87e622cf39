"""The application database: SQLite in WAL mode on one machine, PostgreSQL at scale, one code for both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlmodel import Session

from gateway import archive_tables as _archive_tables  # noqa: F401 - its rows belong to the schema
from gateway import clinical_tables as _clinical_tables  # noqa: F401 - its rows belong to the schema
from gateway import export_tables as _export_tables  # noqa: F401 - its rows belong to the schema
from gateway import identity_tables as _identity_tables  # noqa: F401 - its rows belong to the schema
from gateway import process_tables as _process_tables  # noqa: F401 - its rows belong to the schema
from gateway import retention_tables as _retention_tables  # noqa: F401 - its rows belong to the schema
from gateway.errors import DatabaseNotReady, DatabaseOutdated
from gateway.tables import Row

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_S = 30
_READ_ONLY = "timepoint_read_only"
_UNAVAILABLE = (OperationalError, InterfaceError, PoolTimeout)
_UPGRADE_LOCK = 0x7469_6D65_706F_696E  # "timepoin": one upgrade at a time on PostgreSQL


def open_database(url: str, password_file: Path | None = None) -> Engine:
    """An engine for `sqlite:///...` or `postgresql+psycopg://...`; the SQLite folder is made, the schema is not.

    `password_file` holds the password of the URL's user, so that no password need stand in the configuration.
    """
    target = make_url(url)
    if password_file is not None:
        target = target.set(password=password_file.read_text(encoding="utf-8").strip())
    if target.get_backend_name() == "sqlite":
        return _open_sqlite(target)
    return _open_postgresql(target)


def _open_sqlite(url: sa.URL) -> Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(url: sa.URL) -> Engine:
    # A process that is frozen inside a transaction must not hold the row of a patient for ever.
    options = f"-c idle_in_transaction_session_timeout={BUSY_TIMEOUT_S * 2000} -c lock_timeout={BUSY_TIMEOUT_S * 1000}"
    return sa.create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=20, connect_args={"options": options})


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; `_begin_sqlite` does
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A deferred transaction that reads first and writes later fails at once when another one wrote in between;
    # one that takes the write lock at the start waits for its turn.
    read_only = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def session_scope(engine: Engine) -> Iterator[Session]:
    """A write transaction: committed at the end of the block, rolled back on any error.

    Raises:
        DatabaseNotReady: when the database is locked for longer than the busy timeout, or does not answer.
    """
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
    except _UNAVAILABLE as error:
        raise _not_ready(error) from error


@contextmanager
def read_scope(engine: Engine) -> Iterator[Session]:
    """A read transaction that never waits for writers; nothing written in it is kept."""
    try:
        with engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
            with Session(connection, expire_on_commit=False) as session:
                yield session
            connection.rollback()
    except _UNAVAILABLE as error:
        raise _not_ready(error) from error


def insert_or_ignore(session: Session, row: Row) -> bool:
    """Insert `row` unless a unique key forbids it; tells whether it was inserted. The same on both databases.

    The answer comes from RETURNING: psycopg reports a row count of -1 for such an INSERT.
    """
    connection, table = session.connection(), sa.inspect(type(row)).local_table
    values = {c.name: getattr(row, c.name) for c in table.columns if getattr(row, c.name) is not None}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values(values).on_conflict_do_nothing().returning(*table.primary_key.columns)
    return connection.execute(statement).first() is not None


def upgrade(engine: Engine) -> None:
    """Bring the schema to the version of this program; safe to call from several processes at once.

    Where it has that version already nothing is locked, so that roles can start beside a receiver at work.

    Raises:
        DatabaseNotReady: when the database does not answer.
    """
    try:
        if _found_version(engine) == _needed_version():
            return
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            command.upgrade(_alembic(connection), "head")
    except _UNAVAILABLE as error:
        raise _not_ready(error) from error


def require_current(engine: Engine) -> None:
    """Refuse to run on another schema version.

    Raises:
        DatabaseOutdated: naming both versions.
        DatabaseNotReady: when the database does not answer.
    """
    try:
        found = _found_version(engine)
    except _UNAVAILABLE as error:
        raise _not_ready(error) from error
    if found != _needed_version():
        raise DatabaseOutdated(f"It has version {found or 'none'}, this program needs {_needed_version()}.")


def _found_version(engine: Engine) -> str | None:
    with engine.connect().execution_options(**{_READ_ONLY: True}) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _needed_version() -> str | None:
    return ScriptDirectory.from_config(_alembic()).get_current_head()


def _alembic(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _not_ready(error: SQLAlchemyError) -> DatabaseNotReady:
    """The driver's own sentence, which has no row values in it, unlike SQLAlchemy's with its statement."""
    cause = getattr(error, "orig", None) or error
    lines = str(cause).strip().splitlines()
    return DatabaseNotReady(f"({lines[0] if lines else type(cause).__name__})")
