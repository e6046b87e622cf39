"""A node on each database: SQLite always, PostgreSQL where the mark `peer` is selected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_receive.node import Node, make_node
from peers.postgres import PostgresCluster, running_postgres


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


@pytest.fixture
def node(tmp_path: Path, database_url: str) -> Iterator[Node]:
    made = make_node(tmp_path / "data", database_url)
    yield made
    made.database.dispose()
