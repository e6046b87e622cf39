"""Associations that carry images of a study, so that one that broke off is remembered

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "open_association",
        sa.Column("association_key", sa.String(length=16), nullable=False),
        sa.Column("study_key", sa.String(length=16), nullable=False),
        sa.Column("source_ae", sa.String(length=16), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("broke_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["study_key"], ["study.study_key"], name=op.f("fk_open_association_study_key_study")),
        sa.PrimaryKeyConstraint("association_key", "study_key", name=op.f("pk_open_association")),
    )
    with op.batch_alter_table("open_association", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_open_association_study_key"), ["study_key"], unique=False)


def downgrade() -> None:
    op.drop_table("open_association")
