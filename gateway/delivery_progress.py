"""How far a study has come with its deliveries: delivered when every archive holds its objects, and has promised to
keep them where the destination asks for that."""

from __future__ import annotations

import datetime as dt

from sqlmodel import Session, select

from gateway.object_names import FHIR_DESTINATION
from gateway.settings import Destination, DestinationKind, Settings
from gateway.stages.progress import ORDER
from gateway.tables import Delivery, DeliveryState, Study, StudyState

FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 900.0
GIVE_UP_AFTER = dt.timedelta(hours=72)


def wait_after(failures: int) -> dt.timedelta:
    """How long to wait after so many failures (1 or more): twice as long each time, a quarter of an hour at most."""
    return dt.timedelta(seconds=min(FIRST_WAIT_S * 2 ** min(failures - 1, 12), LONGEST_WAIT_S))


def archive_named(settings: Settings, name: str) -> Destination | None:
    """The destination of that name, None where it is not configured (any more)."""
    return next((d for d in settings.destinations if d.name == name), None)


def to_be_committed(settings: Settings) -> dict[str, Destination]:
    """The destinations that have to promise to keep what they got, by name."""
    return {d.name: d for d in settings.destinations if d.kind is DestinationKind.DICOM and d.commitment == "required"}


def is_done(row: Delivery, settings: Settings) -> bool:
    """Whether nothing is left to do for a delivery."""
    if row.state is DeliveryState.DELIVERED:
        return row.destination not in to_be_committed(settings)
    return row.state is DeliveryState.COMMITTED


def settle_study(session: Session, study_key: str, settings: Settings) -> None:
    """Move the study on as far as its deliveries have come: delivered when every archive holds all objects, committed
    when archives have promised to keep them, published when the FHIR server has them too."""
    study = session.get(Study, study_key)
    if study is None or study.state not in ORDER or ORDER.index(study.state) < ORDER.index(StudyState.ENCODED):
        return
    rows = session.exec(
        select(Delivery).where(Delivery.study_key == study_key, Delivery.revision == study.revision)
    ).all()
    if any(not is_done(r, settings) for r in rows if r.destination != FHIR_DESTINATION):
        return
    if all(is_done(r, settings) for r in rows):
        study.state = StudyState.PUBLISHED
    elif any(r.state is DeliveryState.COMMITTED for r in rows):
        study.state = StudyState.COMMITTED
    else:
        study.state = StudyState.DELIVERED
    session.add(study)
