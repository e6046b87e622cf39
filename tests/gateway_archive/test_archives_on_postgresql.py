"""What is asked of archives is claimed and noted on PostgreSQL as on SQLite, and by one worker of several."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gateway_archive.deliveries import as_node, gateway_with_deliveries, make_due, rows, states, study_state
from gateway_receive.mr_images import mr_study
from gateway_receive.senders import send
from peers.ports import free_port
from peers.postgres import running_postgres
from sqlmodel import select

from gateway.archive_tables import ArchiveCount, Commitment, PriorSearch, SearchState
from gateway.commitment import ask_for_commitment
from gateway.completion import close_due_studies
from gateway.context import Gateway, open_gateway
from gateway.courier import deliver_due
from gateway.database import session_scope
from gateway.engine import InlineEngine, Plan, Step
from gateway.expected_count import ask_archives
from gateway.priors import fetch_priors
from gateway.relay import relay_outbox
from gateway.settings import Settings
from gateway.tables import DeliveryState, Study, StudyState
from longitudinal.types import Contrast
from timepoint.small_pacs import running_small_pacs

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with running_postgres() as cluster:
        yield cluster.new_database()


def _all_at_once(gateway: Gateway, ask: object) -> int:
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(ask, [gateway] * 4))  # type: ignore[arg-type, call-overload]


def test_a_question_is_asked_by_one_worker(tmp_path: Path, database_url: str) -> None:
    port, dicom_port = free_port(), free_port()
    settings = Settings(
        data_dir=tmp_path / "data",
        database={"url": database_url},
        dicom={"port": dicom_port, "processes": 0, "peers": [{"ae_title": "PACS", "port": port, "query": "c-find"}]},
        study={"quiet_s": 0, "count_wait_s": 0},
        priors={"archive": "PACS"},
        destinations=({"name": "a", "host": "127.0.0.1", "port": port, "ae_title": "PACS", "commitment": "required"},),
    )
    with gateway_with_deliveries(settings) as gateway:
        node = as_node(gateway)
        with running_small_pacs(tmp_path / "pacs", "PACS", port):
            deliver_due(gateway)
            assert states(gateway) == [DeliveryState.DELIVERED] * 2
            assert _all_at_once(gateway, ask_for_commitment) == 1
            assert len(node.rows(Commitment)) == 1
            assert states(gateway) == [DeliveryState.FAILED] * 2, "the small PACS offers no commitment"
            assert study_state(gateway) is StudyState.ENCODED
        with node.listening() as scp:
            assert set(send(scp.port, mr_study("1.2.840.99.1", (Contrast.T1C, Contrast.FLAIR)))) == {0}
        assert _all_at_once(gateway, ask_archives) == 1
        (count,) = node.rows(ArchiveCount)
        assert count.series is None and "connection failed" in count.problem
        ((study_key, _),) = close_due_studies(gateway.database, settings)
        relay_outbox(gateway, InlineEngine({"study": Plan([Step("none", lambda _: None)], lambda *_: None)}))
        assert _all_at_once(gateway, fetch_priors) == 1
        (search,) = node.rows(PriorSearch)
        assert (search.study_key, search.state, search.attempts) == (study_key, SearchState.DUE, 1)
        assert "connection failed" in search.problem


def test_a_worker_that_was_killed_while_it_asked_leaves_a_question(tmp_path: Path) -> None:
    """What a kill leaves behind is the claimed row, without an answer: it is due again."""
    port = free_port()
    settings = Settings(
        data_dir=tmp_path / "data",
        dicom={"peers": [{"ae_title": "PACS", "port": port, "query": "c-find"}]},
        destinations=(
            {
                "name": "a", "host": "127.0.0.1", "port": port, "ae_title": "PACS", "commitment": "required",
                "commitment_wait_s": 5,
            },
        ),
    )  # fmt: skip
    with gateway_with_deliveries(settings) as gateway:
        with running_small_pacs(tmp_path / "pacs", "PACS", port):
            deliver_due(gateway)
        with session_scope(gateway.database) as session:
            uids = sorted(rows(gateway))
            session.add(
                Commitment(transaction_uid="2.25.7", destination="a", study_key="s1", revision=1, instances=uids)
            )
        gateway.database.dispose()
        again = open_gateway(settings)
        make_due(again)
        assert ask_for_commitment(again) == 1
        found = {t.transaction_uid: t.state.value for t in as_node(again).rows(Commitment)}
        assert found.pop("2.25.7") == "unanswered"
        assert list(found.values()) == ["refused"]
        assert all(row.next_try is not None for row in rows(again).values())
        with session_scope(again.database) as session:
            assert session.exec(select(Study)).one().state is StudyState.ENCODED
        again.database.dispose()
