"""One quiet patient and one image, for tests of single rules."""

from __future__ import annotations

import datetime as dt

from planted.mr_objects import classic
from planted.patients import Patient
from pydicom.dataset import Dataset

PATIENT = Patient("p", "Doe^Jane", "MRN123456", "", "19500102", "064Y", "ISO_IR 100", dt.date(2020, 5, 6), (90,))
UIDS = {
    name: f"1.2.3.4.{number}"
    for number, name in enumerate(("study", "frame", "series", "slice0", "slice1", "enhanced", "enhanced_series"))
}


def image() -> Dataset:
    return classic(PATIENT, 0, UIDS, 0)
