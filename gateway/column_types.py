"""Column types and defaults that behave the same on SQLite and PostgreSQL."""

from __future__ import annotations

import datetime as dt
import secrets
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: nothing that is misread aloud


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An instant. Only aware values go in, UTC comes out; SQLite, which keeps no zone, stores UTC."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def words(kind: type[StrEnum]) -> sa.Enum:
    """A StrEnum stored as its value in plain text, so that a new member needs no migration."""
    return sa.Enum(kind, native_enum=False, create_constraint=False, length=32, values_callable=_values)


def _values(kind: Any) -> list[str]:
    return [member.value for member in kind]


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def new_key(prefix: str) -> str:
    """A random 60-bit key such as `s4k2m9x7q1wzd`: safe in URLs, logs and file names; nothing of the patient in it."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(12))
