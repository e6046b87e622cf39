"""One gateway with an analysed patient for the tests of this folder, and a client that reads it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from web.analysed_patient import build

from gateway.api.app import create_app
from gateway.context import Gateway, open_gateway
from gateway.engine import InlineEngine
from gateway.settings import Settings


@pytest.fixture(scope="session")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = open_gateway(Settings(data_dir=tmp_path_factory.mktemp("analysed")))
    build(gateway)
    yield gateway
    gateway.database.dispose()


@pytest.fixture(scope="session")
def client(analysed: Gateway) -> Iterator[TestClient]:
    with TestClient(create_app(analysed, InlineEngine())) as made:
        yield made
