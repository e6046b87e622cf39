"""Storage commitment transactions

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import Json, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commitment",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("study_key", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("instances", Json, nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["study_key"], ["study.study_key"], name=op.f("fk_commitment_study_key_study")),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_commitment")),
    )
    with op.batch_alter_table("commitment", schema=None) as batch_op:
        batch_op.create_index("ix_commitment_study_key_revision", ["study_key", "revision"], unique=False)


def downgrade() -> None:
    op.drop_table("commitment")
