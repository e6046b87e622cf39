"""The search for earlier studies of a patient, and the studies that are fetched

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import Json, UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prior_search",
        sa.Column("patient_key", sa.String(length=16), nullable=False),
        sa.Column("study_key", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("counts", Json, nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["patient_key"], ["patient.patient_key"], name=op.f("fk_prior_search_patient_key_patient")
        ),
        sa.ForeignKeyConstraint(["study_key"], ["study.study_key"], name=op.f("fk_prior_search_study_key_study")),
        sa.PrimaryKeyConstraint("patient_key", name=op.f("pk_prior_search")),
    )
    with op.batch_alter_table("prior_search", schema=None) as batch_op:
        batch_op.create_index("ix_prior_search_state_next_try", ["state", "next_try"], unique=False)
        batch_op.create_index(batch_op.f("ix_prior_search_study_key"), ["study_key"], unique=False)
    op.create_table(
        "prior_study",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_key", sa.String(), nullable=False),
        sa.Column("acquired", sa.Date(), nullable=False),
        sa.Column("series", Json, nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("arrived", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["patient_key"], ["patient.patient_key"], name=op.f("fk_prior_study_patient_key_patient")
        ),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_prior_study")),
    )
    with op.batch_alter_table("prior_study", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_prior_study_patient_key"), ["patient_key"], unique=False)
        batch_op.create_index("ix_prior_study_state_next_try", ["state", "next_try"], unique=False)


def downgrade() -> None:
    op.drop_table("prior_study")
    op.drop_table("prior_search")
