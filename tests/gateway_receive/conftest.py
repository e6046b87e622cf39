"""A node on each database: SQLite always, PostgreSQL where the mark `peer` is selected."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_receive.certificates import Authority
from gateway_receive.node import Node, make_node
from peers.postgres import PostgresCluster, running_postgres

from gateway.database import open_database, upgrade
from gateway.tables import METADATA


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    with running_postgres() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "postgresql":
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        return cluster.new_database()
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with the schema: copying it is faster than migrating again."""
    file = tmp_path_factory.mktemp("template") / "template.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresCluster) -> str:
    """One database with the schema for all tests: emptying it is faster than making another."""
    url = postgres.new_database()
    _migrate(url)
    return url


def _migrate(url: str) -> None:
    engine = open_database(url)
    upgrade(engine)
    engine.dispose()


def _empty(node: Node) -> None:
    tables = ", ".join(f'"{table.name}"' for table in METADATA.sorted_tables)
    with node.database.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    if request.param == "postgresql":
        made = make_node(tmp_path / "data", request.getfixturevalue("postgres_url"))
        _empty(made)
    else:
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "node.db")
        made = make_node(tmp_path / "data", f"sqlite:///{tmp_path / 'node.db'}")
    yield made
    made.database.dispose()


@pytest.fixture
def hospital(tmp_path: Path) -> Authority:
    """The authority that a site trusts."""
    return Authority(tmp_path / "hospital", "hospital")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "stranger", "stranger")
