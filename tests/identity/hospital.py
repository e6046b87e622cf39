"""A gateway without network: images go in by `Receiver.take`, jobs run within the test, objects go nowhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from sqlmodel import Session, col, select

from gateway.arrivals import ArrivalRules
from gateway.column_types import utc_now
from gateway.completion import close_due_studies
from gateway.context import Gateway, open_gateway
from gateway.database import read_scope, session_scope
from gateway.engine import InlineEngine, JobQueue
from gateway.identity import PatientId, patient_key_of
from gateway.part10 import read_part10
from gateway.receiver import Receiver
from gateway.records import read_patient_record
from gateway.relay import relay_outbox
from gateway.settings import Settings
from gateway.tables import Delivery, DeliveryState, Row, Study
from gateway.workflow import plans


@dataclass
class Hospital:
    """An open gateway and its engine."""

    gateway: Gateway
    engine: JobQueue = field(default_factory=InlineEngine)

    @property
    def database(self) -> Any:
        return self.gateway.database

    def run_jobs(self) -> None:
        """Run jobs until none is left."""
        while relay_outbox(self.gateway, self.engine):
            pass

    def send(self, files: Iterable[Path], source_ae: str = "PACS", **changes: str) -> None:
        """Take files in as they came from a sender, with attributes set."""
        receiver = Receiver(self.database, self.gateway.received, ArrivalRules.from_settings(self.gateway.settings))
        for file in files:
            ds = pydicom.dcmread(file)
            for keyword, value in changes.items():
                setattr(ds, keyword, value)
            ds.file_meta.SourceApplicationEntityTitle = source_ae
            copy = self.gateway.settings.data_dir / "incoming.dcm"
            ds.save_as(copy, enforce_file_format=True)
            receiver.take(read_part10(copy.read_bytes()))

    def close_studies(self) -> None:
        close_due_studies(self.database, self.gateway.settings, utc_now() + dt.timedelta(hours=1))

    def deliver_all(self) -> None:
        """Every object arrives: what the couriers do, without anybody at the other end."""
        with session_scope(self.database) as session:
            for row in session.exec(select(Delivery).where(Delivery.state == DeliveryState.PENDING)).all():
                row.state, row.attempts, row.next_try = DeliveryState.DELIVERED, 1, None
                session.add(row)

    def patient(self, patient_id: str, issuer: str = "HOSPITAL") -> str:
        with session_scope(self.database) as session:
            return patient_key_of(session, PatientId(patient_id, issuer))

    def study(self, uid: str) -> Study:
        with read_scope(self.database) as session:
            return session.exec(select(Study).where(Study.study_instance_uid == uid)).one()

    def rows(self, table: type[Row]) -> list[Any]:
        with read_scope(self.database) as session:
            return list(session.exec(select(table)).all())

    def deliveries(self, study_key: str) -> list[Delivery]:
        with read_scope(self.database) as session:
            query = select(Delivery).where(Delivery.study_key == study_key).order_by(col(Delivery.id))
            return list(session.exec(query).all())

    def dataset(self, row: Delivery) -> pydicom.Dataset:
        return pydicom.dcmread(self.gateway.results.path(str(row.blob)))

    def record(self, patient_key: str) -> Any:
        with read_scope(self.database) as session:
            return read_patient_record(session, patient_key).record

    def act(self, operation: Any, *arguments: Any) -> Any:
        with session_scope(self.database) as session:
            return operation(session, *arguments)

    def read(self, look: Any) -> Any:
        def within(session: Session) -> Any:
            return look(session)

        with read_scope(self.database) as session:
            return within(session)


def open_hospital(folder: Path, database_url: str = "", **sections: Any) -> Hospital:
    """A gateway with a FHIR server and an archive configured, neither of which is ever asked."""
    database = {"database": {"url": database_url}} if database_url else {}
    settings = Settings(
        data_dir=folder,
        fhir={"base_url": "http://127.0.0.1:9/fhir", "patients": "identifier"},
        destinations=[{"name": "pacs", "host": "127.0.0.1", "port": 9}],
        **database,
        **sections,
    )
    hospital = Hospital(open_gateway(settings))
    engine = InlineEngine()
    engine.start(plans(hospital.gateway), ["patient", "gpu"])
    hospital.engine = engine
    return hospital
