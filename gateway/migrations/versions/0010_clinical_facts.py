"""Treatments and tumour markers that a person stated

Revision 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "treatment",
        sa.Column("treatment_key", sa.String(length=16), nullable=False),
        sa.Column("patient_key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("start", sa.Date(), nullable=False),
        sa.Column("stop", sa.Date(), nullable=True),
        sa.Column("decided", sa.Date(), nullable=True),
        sa.Column("agent", sa.String(length=64), nullable=True),
        sa.Column("extent", sa.String(length=8), nullable=True),
        sa.Column("planned", sa.Boolean(), nullable=False),
        sa.Column("stated_by", sa.String(length=64), nullable=False),
        sa.Column("stated_at", UtcDateTime(), nullable=False),
        sa.Column("taken_back_by", sa.String(length=64), nullable=False),
        sa.Column("taken_back_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["patient_key"], ["patient.patient_key"], name=op.f("fk_treatment_patient_key_patient")
        ),
        sa.PrimaryKeyConstraint("treatment_key", name=op.f("pk_treatment")),
    )
    with op.batch_alter_table("treatment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_treatment_patient_key"), ["patient_key"], unique=False)
    op.create_table(
        "clinical_facts",
        sa.Column("patient_key", sa.String(), nullable=False),
        sa.Column("who_grade", sa.Integer(), nullable=True),
        sa.Column("idh", sa.String(length=8), nullable=True),
        sa.Column("mgmt", sa.String(length=8), nullable=True),
        sa.Column("codel_1p19q", sa.Boolean(), nullable=True),
        sa.Column("stated_by", sa.String(length=64), nullable=False),
        sa.Column("stated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["patient_key"], ["patient.patient_key"], name=op.f("fk_clinical_facts_patient_key_patient")
        ),
        sa.PrimaryKeyConstraint("patient_key", name=op.f("pk_clinical_facts")),
    )


def downgrade() -> None:
    op.drop_table("clinical_facts")
    op.drop_table("treatment")
