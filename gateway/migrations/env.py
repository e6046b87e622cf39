"""Runs the migrations on the connection that `gateway.database.upgrade` hands over, inside its transaction."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext

from gateway.column_types import Json, UtcDateTime
from gateway.tables import METADATA


def _render(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our column types by name; sqlmodel's own string type would need an import that the template lacks."""
    del autogen
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "UtcDateTime()"
    if item is Json:
        return "Json"
    if isinstance(item, sa.Enum):
        return f"sa.String(length={item.length})"
    if isinstance(item, sa.types.TypeDecorator) and isinstance(item.impl, sa.String):
        return f"sa.String(length={item.impl.length})" if item.impl.length else "sa.String()"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,
    render_item=_render,
)
with context.begin_transaction():
    context.run_migrations()
