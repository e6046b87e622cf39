"""Which objects of the stores rows refer to. What no row refers to is an orphan; what a row lacks is a loss."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from gateway.retention_tables import ReleasedImage
from gateway.tables import Delivery, Instance, Quarantine


def received_in_use(session: Session, blobs: Sequence[str]) -> set[str]:
    """Of these objects of the image store those that an image or something in quarantine needs."""
    images = session.exec(
        select(Instance.blob)
        .outerjoin(ReleasedImage, col(ReleasedImage.instance_id) == col(Instance.id))
        .where(col(Instance.blob).in_(blobs), col(ReleasedImage.instance_id).is_(None))
    ).all()
    kept = session.exec(select(Quarantine.blob).where(col(Quarantine.blob).in_(blobs))).all()
    return {blob for blob in (*images, *kept) if blob}


def results_in_use(session: Session, blobs: Sequence[str]) -> set[str]:
    """Of these objects of the result store those that a delivery or a released image needs."""
    sent = session.exec(select(Delivery.blob).where(col(Delivery.blob).in_(blobs))).all()
    headers = session.exec(select(ReleasedImage.header_blob).where(col(ReleasedImage.header_blob).in_(blobs))).all()
    return {blob for blob in (*sent, *headers) if blob}
