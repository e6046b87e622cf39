"""Releases of histories as a chain, and withdrawals that reach them

Revision 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import Json, UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ledger = ["export_ledger.export_key"]
    op.create_table(
        "history_release",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("export_key", sa.String(length=16), nullable=False),
        sa.Column("members", Json, nullable=False),
        sa.Column("statement", Json, nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["export_key"], ledger, name=op.f("fk_history_release_export_key_export_ledger")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_history_release")),
        sa.UniqueConstraint("export_key", name=op.f("uq_history_release_export_key")),
    )
    op.create_table(
        "release_withdrawal",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("export_key", sa.String(length=16), nullable=False),
        sa.Column("patient_key", sa.String(length=16), nullable=False),
        sa.Column("pid", sa.String(length=32), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["export_key"], ledger, name=op.f("fk_release_withdrawal_export_key_export_ledger")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release_withdrawal")),
    )
    op.create_index(op.f("ix_release_withdrawal_export_key"), "release_withdrawal", ["export_key"])
    op.create_index(op.f("ix_release_withdrawal_patient_key"), "release_withdrawal", ["patient_key"])


def downgrade() -> None:
    op.drop_table("release_withdrawal")
    op.drop_table("history_release")
