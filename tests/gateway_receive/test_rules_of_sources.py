"""What is different for the studies of single senders: their times, what they must hold, what happens in the end."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from peers.indexed import FLAIR, add_patient, add_study
from sqlmodel import select

from gateway.arrivals import ArrivalRules, await_images
from gateway.column_types import utc_now
from gateway.completion import close_due_studies, rules_from
from gateway.database import open_database, read_scope, session_scope, upgrade
from gateway.errors import SettingsError
from gateway.settings import ForcePolicy, Settings, load_settings
from gateway.tables import Study, StudyState
from longitudinal.types import Contrast

RULES = """
[study]
quiet_s = 60
required = ["t1c", "t2f"]

[[study.sources]]
ae_title = "OUTPATIENT"
quiet_s = 5
force_s = 20
required = ["t2f"]
force_policy = "discard"
allow_slice_gaps = true
"""


def settings(folder: Path, text: str = RULES) -> Settings:
    file = folder / "timepoint.toml"
    file.write_text(f'data_dir = "{folder / "data"}"\n{text}', encoding="utf-8")
    return load_settings(file)


def test_a_source_overrides_what_it_states_and_keeps_the_rest(tmp_path: Path) -> None:
    study = settings(tmp_path).study
    own = study.of_source("OUTPATIENT ")
    assert (own.quiet_s, own.force_s, own.retry_s) == (5, 20, 300)
    rules = rules_from(own)
    assert (rules.required, rules.force_policy, rules.allow_slice_gaps) == (
        (Contrast.FLAIR,),
        ForcePolicy.DISCARD,
        True,
    )
    assert study.of_source("PACS") == study
    assert study.longest_quiet_s == 60


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[study.sources]]\nae_title = "A"\n[[study.sources]]\nae_title = "A"\n', "two sources"),
        ('[[study.sources]]\nae_title = "A"\nquiett_s = 4\n', "quiet_s"),
        ("[[study.sources]]\nquiet_s = 4\n", "ae_title"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        settings(tmp_path, text)


def test_the_timer_of_a_study_is_that_of_its_sender(tmp_path: Path) -> None:
    rules, now = ArrivalRules.from_settings(settings(tmp_path)), utc_now()
    for sender, quiet, force in (("OUTPATIENT", 5, 20), ("PACS", 60, 5400)):
        study = Study(study_instance_uid="1.2", source_ae=sender)
        await_images(study, rules, now)
        assert study.due == now + dt.timedelta(seconds=quiet)
        assert study.force_due == now + dt.timedelta(seconds=force)


def test_the_same_study_is_complete_from_one_sender_and_not_from_another(tmp_path: Path) -> None:
    options = settings(tmp_path)
    engine = open_database(options.database.url)
    upgrade(engine)
    due = utc_now() - dt.timedelta(seconds=1)
    with session_scope(engine) as session:
        patient = add_patient(session)
        for uid, sender in (("1.1", "OUTPATIENT"), ("1.2", "PACS")):
            late = due + dt.timedelta(hours=1)
            add_study(session, patient, uid, [FLAIR], source_ae=sender, due=due, force_due=late)
    closed = close_due_studies(engine, options)
    with read_scope(engine) as session:
        states = {s.source_ae: s.state for s in session.exec(select(Study))}
    assert len(closed) == 1
    assert states == {"OUTPATIENT": StudyState.COMPLETE, "PACS": StudyState.RECEIVING}
    engine.dispose()
