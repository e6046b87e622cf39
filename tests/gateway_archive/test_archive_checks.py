"""The doctor on archives: real ones that do what is configured, and what is said of those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peers.orthanc import Orthanc, running_orthanc
from peers.ports import free_port

from gateway.archive_checks import destinations, peers, priors, what_to_ask_for
from gateway.findings import Health
from gateway.settings import Settings

# pynetdicom leaves its socket unclosed where a connection is refused, which is what these tests provoke.
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]


def _settings(pacs: Orthanc, query: str, retrieve: str, **change: Any) -> Settings:
    peer = {
        "ae_title": "ORTHANC", "name": "pacs", "port": pacs.dicom_port, "url": pacs.dicomweb_url, "query": query,
        **change,
    }  # fmt: skip
    return Settings(
        dicom={"peers": [peer]},
        priors={"archive": "pacs", "retrieve": retrieve},
        destinations=(
            {
                "name": "a", "host": "127.0.0.1", "port": pacs.dicom_port, "ae_title": "ORTHANC",
                "commitment": "required",
            },
            {"name": "b", "kind": "stow", "url": change.get("url", pacs.dicomweb_url)},
        ),
    )  # fmt: skip


def _said(settings: Settings) -> dict[str, tuple[Health, str]]:
    found = [*peers(settings), *priors(settings), *destinations(settings)]
    assert all(f.remedy for f in found if f.health is not Health.OK)
    return {f.check: (f.health, f.detail) for f in found}


def test_archives_that_do_what_is_asked_of_them_are_found_well(tmp_path: Path) -> None:
    with running_orthanc(free_port(), route=False) as pacs:
        for query, retrieve in (("c-find", "c-move"), ("qido", "wado-rs")):
            said = _said(_settings(pacs, query, retrieve))
            assert {check: detail for check, (health, detail) in said.items() if health is not Health.OK} == {}
            assert said[f"peer pacs: {query}"][1] == "answers; images are counted"
            assert said[f"priors: {retrieve}"][1].startswith("pacs answers; at most 4")
            assert said["a: storage commitment"][1] == "offered; asked for each delivery"
            assert said["b: DICOMweb"][1] == "answers; storage commitment waived"


def test_what_does_not_work_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    with running_orthanc(free_port(), route=False) as pacs:
        wrong_url = _said(_settings(pacs, "qido", "wado-rs", url=f"{pacs.base_url}/no-such-place"))
        assert wrong_url["peer pacs: qido"] == (Health.FAILURE, "the archive answered with HTTP status 404")
        assert wrong_url["b: DICOMweb"][0] is Health.FAILURE
        unlisted = _said(_settings(pacs, "qido", "wado-rs", ae_title="ELSEWHERE"))
        assert unlisted["a: storage commitment"] == (Health.FAILURE, "its reports would be refused")
        down = _said(_settings(pacs, "c-find", "c-move", port=free_port()))
        assert down["peer pacs: c-find"][0] is Health.FAILURE
        assert down["priors: c-move"][0] is Health.FAILURE


def test_nothing_configured_is_nothing_wrong_and_nothing_to_ask_for() -> None:
    said = _said(Settings())
    assert said["priors"] == (Health.OK, "not fetched (priors.archive is empty)")
    assert said["destinations"][0] is Health.WARNING
    assert what_to_ask_for(Settings()) == []


def test_the_pacs_is_asked_for_what_is_configured(tmp_path: Path) -> None:
    with running_orthanc(free_port(), route=False) as pacs:
        lines = " ".join(what_to_ask_for(_settings(pacs, "c-find", "c-move")))
    assert "storage commitment" in lines and "C-FIND" in lines and "C-MOVE" in lines
