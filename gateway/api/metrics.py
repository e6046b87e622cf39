"""`/metrics` in Prometheus' text format, read from the database at each scrape: every web node tells the same."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from sqlmodel import Session, col, func, select

from gateway.column_types import utc_now
from gateway.process_tables import WorkerBeat
from gateway.tables import Delivery, Outbox, Quarantine, Study


def render_metrics(session: Session) -> bytes:
    """Counts and ages; no label carries anything of a patient."""
    registry = CollectorRegistry()
    studies = Gauge("timepoint_studies", "Studies by state", ["state"], registry=registry)
    for state, count in session.exec(select(Study.state, func.count()).group_by(col(Study.state))).all():
        studies.labels(str(state)).set(count)
    deliveries = Gauge(
        "timepoint_deliveries", "Deliveries by destination and state", ["destination", "state"], registry=registry
    )
    grouped = select(Delivery.destination, Delivery.state, func.count()).group_by(
        col(Delivery.destination), col(Delivery.state)
    )
    for destination, state, count in session.exec(grouped).all():
        deliveries.labels(destination, str(state)).set(count)
    waiting = select(func.count()).select_from(Quarantine).where(col(Quarantine.resolved_at).is_(None))
    Gauge("timepoint_quarantine_open", "Items that wait for a person", registry=registry).set(
        session.exec(waiting).one()
    )
    unsent = select(func.count()).select_from(Outbox).where(col(Outbox.sent_at).is_(None))
    Gauge("timepoint_outbox_waiting", "Jobs not yet handed to the engine", registry=registry).set(
        session.exec(unsent).one()
    )
    beats = Gauge("timepoint_heartbeat_age_seconds", "Age of the last sign of life", ["executor"], registry=registry)
    for row in session.exec(select(WorkerBeat)).all():
        beats.labels(row.executor_id).set((utc_now() - row.at).total_seconds())
    return generate_latest(registry)
