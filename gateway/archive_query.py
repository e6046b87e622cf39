"""What an archive is asked about the studies that it holds, whichever way it is asked."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from gateway.settings import Peer, Settings


class ArchiveSilent(Exception):
    """The archive could not be asked, or did not answer as it should; says why, without any patient data."""


@dataclass(frozen=True, slots=True)
class ArchivedSeries:
    """A series as an archive describes it; `instances` is None where it does not say how many there are."""

    series_instance_uid: str
    modality: str
    instances: int | None
    description: str = ""
    body_part: str = ""


@dataclass(frozen=True, slots=True)
class ArchivedStudy:
    """A study as an archive describes it, with the identity of its patient as stated there."""

    study_instance_uid: str
    patient_id: str
    issuer: str
    acquired: dt.date | None
    modalities: frozenset[str]
    description: str = ""


class Archive(Protocol):
    """An archive that can be asked. Every method raises ArchiveSilent where it gives no proper answer."""

    def studies(self, patient_id: str) -> list[ArchivedStudy]:
        """The studies under a patient ID, as the archive matched them: the caller checks whose they are."""
        ...

    def series(self, study_instance_uid: str) -> list[ArchivedSeries]:
        """The series of a study; empty where the archive does not know it."""
        ...

    def sop_classes(self, study_instance_uid: str, series_instance_uid: str) -> list[str]:
        """The SOP Class UID of each instance of a series, empty where the archive does not say it."""
        ...


def archive_at(settings: Settings, peer: Peer) -> Archive:
    """The archive at a peer whose `query` says how it is asked."""
    if peer.query == "qido":
        from gateway.qido_client import QidoArchive

        return QidoArchive(peer.url, peer.token_file)
    from gateway.find_client import FindArchive

    return FindArchive(settings.dicom.ae_title, peer)


def archive_behind(settings: Settings, source_ae: str) -> Peer | None:
    """The peer that sent under an AE title, where it can be asked about what it sent."""
    named = (p for p in settings.dicom.peers if p.query and p.ae_title.strip() == source_ae.strip())
    return next(named, None)


def date_of(stated: str) -> dt.date | None:
    """A DICOM date (DA); None where there is none that can be read."""
    try:
        return dt.datetime.strptime(stated.strip(), "%Y%m%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        return None


def count_of(stated: object) -> int | None:
    """A number of related instances; None where it is not stated or no number."""
    try:
        return int(str(stated))
    except ValueError:
        return None
