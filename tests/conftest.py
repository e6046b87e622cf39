"""Shared fixtures: where the real test data lies, and no surprise from the environment."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

ROOT = Path(__file__).resolve().parents[1]

# The same examples in every run: what hypothesis finds on a developer's machine becomes an example of its own.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")
os.environ.setdefault("OMP_NUM_THREADS", "1")
for _name in [n for n in os.environ if n.startswith("TIMEPOINT_") and n != "TIMEPOINT_TEST_DATA"]:
    del os.environ[_name]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with public real data; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("TIMEPOINT_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real test data at {folder}; set TIMEPOINT_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture
def refused_connections(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Collects the sockets that pynetdicom leaves to the garbage collector where a connection is refused.

    The test must ignore PytestUnraisableExceptionWarning.
    """
    caplog.set_level("CRITICAL", logger="pynetdicom")  # a logged exception would keep its socket
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A test that sets logging up, as each command does, leaves none of it to the next: the stream is gone by then."""
    root, was_configured, config = logging.getLogger(), structlog.is_configured(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    if was_configured:
        structlog.configure(**config)
    else:
        structlog.reset_defaults()
