"""Logs cannot carry patient values: not by key, not by data set, not by the message of an exception."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest
from pydicom.dataset import Dataset

from gateway.errors import StorageFull
from gateway.logs import WITHHELD, places_of_exceptions, withhold_identifiers


@pytest.mark.parametrize(
    "key",
    ["PatientName", "patient_name", "PatientID", "patient_id", "PatientBirthDate", "birth_date", "StudyInstanceUID",
     "study_instance_uid", "SeriesInstanceUID", "sop_instance_uid", "AccessionNumber", "accession_number", "issuer",
     "OtherPatientIDs", "ImageComments", "password", "surrogate"],
)  # fmt: skip
def test_identifying_keys_are_withheld(key: str) -> None:
    assert withhold_identifiers(None, "info", {key: "Doe^Jane", "detail": {key: "Doe^Jane"}}) == {
        key: WITHHELD,
        "detail": {key: WITHHELD},
    }


def test_what_is_needed_stays() -> None:
    event = {"event": "study complete", "study_key": "s1", "patient_key": "p1", "kind": "truncated", "revision": 2}
    assert withhold_identifiers(None, "info", dict(event)) == event


def test_data_sets_are_never_printed() -> None:
    ds = Dataset()
    ds.PatientName = "Doe^Jane"
    shown = withhold_identifiers(None, "info", {"header": ds, "items": [ds, ds["PatientName"]]})
    assert "Doe" not in repr(shown)


def test_exceptions_show_places_and_not_messages() -> None:
    try:
        try:
            raise ValueError("Invalid value for VR PN: Doe^Jane")
        except ValueError as error:
            raise StorageFull("12 MB are free.") from error
    except StorageFull as error:
        shown = places_of_exceptions(None, "error", {"event": "x", "exc_info": error})
    text = json.dumps(shown)
    assert "Doe" not in text
    assert "builtins.ValueError" in text
    assert "12 MB are free." in text
    assert "test_log_guards.py" in text


PROGRAM = """
import logging, warnings, structlog
from gateway.logs import configure_logging
from gateway.settings import Log
configure_logging(Log(format="json"))
structlog.get_logger("a").info("study complete", study_key="s1", patient_name="Doe^Jane")
logging.getLogger("b").warning("plain %s", "text")
logging.getLogger("pynetdicom").error("Doe^Jane")
warnings.warn_explicit("Doe^Jane", UserWarning, "x.py", 1, module="pydicom.valuerep")
try:
    raise ValueError("Doe^Jane")
except ValueError:
    structlog.get_logger("c").error("failed", exc_info=True)
    logging.getLogger("d").exception("failed too")
"""


def test_a_process_logs_json_lines_to_stderr_without_a_name() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    assert "Doe" not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["a", "b", "c", "d"]
    assert lines[0] == {
        "event": "study complete", "level": "info", "logger": "a", "patient_name": WITHHELD, "study_key": "s1",
        "timestamp": lines[0]["timestamp"],
    }  # fmt: skip
    assert lines[3]["exception"][0] == "builtins.ValueError"
    assert logging.getLogger("pynetdicom").level != logging.DEBUG
