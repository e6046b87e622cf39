"""Importers of public cohorts: what the tables say, what they must not say to a forecast, and where they are wrong."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from longitudinal.histories import decode, encode
from longitudinal.treatments import table_of
from longitudinal.types import TumourType
from training.cohorts.dated_volumes import CohortError, cycles
from training.cohorts.lesions import read_lesions
from training.cohorts.lumiere import read_lumiere
from training.cohorts.mu_glioma_post import read_mu_glioma_post

DATA = Path(os.environ.get("TIMEPOINT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "histories"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"public cohorts are not at {DATA}")


@needs_data
def test_mu_glioma_post_has_the_published_scans() -> None:
    found = read_mu_glioma_post(DATA, "whole")
    with (DATA / "mu_glioma_post_tidy_volumes_cc.csv").open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["timepoint_source"] == "explicit"]
    assert len(found.patients) == len({r["pid"] for r in rows}) == 57
    assert sum(len(p.scans) for p in found.patients) == len(rows) == 177
    expected = sorted(sum(float(r[k] or 0) for k in ("et", "ncr", "snfh")) for r in rows)
    np.testing.assert_allclose(sorted(s.target_cc for p in found.patients for s in p.scans), expected, atol=0.002)
    assert decode(encode(found)).patients


@needs_data
def test_by_type_glioblastoma_is_followed_by_its_core_and_inferred_patients_are_asked_for() -> None:
    explicit, more = read_mu_glioma_post(DATA), read_mu_glioma_post(DATA, inferred=True)
    for patient in explicit.patients:
        for scan in patient.scans:
            core = scan.volume_cc.enhancing + scan.volume_cc.necrotic
            whole = core + scan.volume_cc.oedema
            assert scan.target_cc == pytest.approx(core if patient.tumour_type == TumourType.GBM else whole)
    assert len(more.patients) > 140
    by_pid = {p.pid: p for p in more.patients}
    assert all(by_pid[p.pid] == p for p in explicit.patients)


@needs_data
def test_no_course_of_drugs_tells_a_forecast_when_it_will_end() -> None:
    """A course is stopped when the tumour grows: on no day may more than the running cycle be known."""
    patients = read_mu_glioma_post(DATA).patients
    table = table_of(patients)
    rows = np.repeat(np.arange(len(patients)), 40)
    origin = np.tile(np.arange(0.0, 800.0, 20.0), len(patients))
    known = table.exposure(rows, origin, origin + 365, known_by=origin)
    assert known[:, 1:3].max() <= 2 * 28 / 30.4375 + 1e-9
    given = table.exposure(rows, origin, origin + 365, None)
    assert given[:, 1].max() > 6


def test_cycles_cover_the_course_and_nothing_more() -> None:
    found = cycles("chemo", 10, 70, 28)
    assert [(t.start, t.stop) for t in found] == [(10, 37), (38, 65), (66, 70)]
    assert all(t.decided == t.start for t in found)
    assert len(cycles("chemo", 10, 5, 28)) == 1


@needs_data
def test_lesions_of_laleh() -> None:
    found = read_lesions(DATA / "laleh_2022_lesions.csv")
    assert 1300 < len(found.patients) < 1461
    assert all(p.scans[0].target_cc >= 1 for p in found.patients)
    assert min(s.target_cc for p in found.patients for s in p.scans) == 0
    assert {p.tumour_type for p in found.patients} == {TumourType.OTHER}


def test_a_broken_lesion_table_names_line_or_column(tmp_path: Path) -> None:
    file = tmp_path / "l.csv"
    file.write_text("Pt_hashID,T_days,Lesion_vol\na,0,2000\na,ninety,2100\n")
    with pytest.raises(CohortError, match="line 3"):
        read_lesions(file)
    file.write_text("Pt_hashID,T_days\na,0\n")
    with pytest.raises(CohortError, match="column Lesion_vol is missing"):
        read_lesions(file)
    with pytest.raises(CohortError, match="cannot be read"):
        read_lesions(tmp_path / "none.csv")


def test_lumiere_layout(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("Patient,Date,Rating\nPatient-001,week-000,Pre-Op\n")
    (tmp_path / "volumes.csv").write_text(
        "Patient,Date,Enhancing (mm3),Necrosis,Edema\n"
        "Patient-001,week-044-1,3000,1000,20000\nPatient-001,week-044-2,3100,900,20000\n"
        "Patient-001,week-060,5000,0,\nPatient-001,week-060,9999,0,0\n"
    )
    (patient,) = read_lumiere(tmp_path).patients
    assert [(s.t, s.target_cc) for s in patient.scans] == [(0, 4.0), (1, 4.0), (112, 5.0)]
    (tmp_path / "volumes.csv").write_text("Patient,Date,Enhancing\nPatient-001,44,3000\n")
    with pytest.raises(CohortError, match="line 2: Date is '44'"):
        read_lumiere(tmp_path)
