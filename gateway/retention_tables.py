"""Rows about data that were deleted because their time was over; they belong to the schema of `gateway.tables`."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger, Integer
from sqlmodel import Field

from gateway.column_types import UtcDateTime, utc_now
from gateway.tables import Row


class ReleasedImage(Row, table=True):
    """An image whose bytes were deleted after its study was published: `header_blob` in the result store holds all of
    it but the pixels, for results that are published again. The row goes when the image is received once more."""

    __tablename__ = "released_image"

    instance_id: int = Field(
        primary_key=True,
        foreign_key="instance.id",
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
        sa_column_kwargs={"autoincrement": False},
    )
    header_blob: str = Field(max_length=64, index=True)
    released_at: dt.datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
