"""Merged records, studies that changed their patient, HL7 messages, and when an identifier was looked up

Revision 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import Json, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("patient_identifier", schema=None) as batch_op:
        batch_op.add_column(sa.Column("looked_up_at", UtcDateTime(), nullable=True))
    op.create_table(
        "patient_merge",
        sa.Column("merge_key", sa.String(length=16), nullable=False),
        sa.Column("surviving_key", sa.String(), nullable=False),
        sa.Column("retired_key", sa.String(), nullable=False),
        sa.Column("made_by", sa.String(length=64), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("unmade_by", sa.String(length=64), nullable=False),
        sa.Column("unmade_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["surviving_key"], ["patient.patient_key"], name=op.f("fk_patient_merge_surviving_key_patient")
        ),
        sa.ForeignKeyConstraint(
            ["retired_key"], ["patient.patient_key"], name=op.f("fk_patient_merge_retired_key_patient")
        ),
        sa.PrimaryKeyConstraint("merge_key", name=op.f("pk_patient_merge")),
    )
    with op.batch_alter_table("patient_merge", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_patient_merge_surviving_key"), ["surviving_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_patient_merge_retired_key"), ["retired_key"], unique=False)
    op.create_table(
        "study_assignment",
        sa.Column("study_key", sa.String(), nullable=False),
        sa.Column("patient_key", sa.String(), nullable=False),
        sa.Column("made_by", sa.String(length=64), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["study_key"], ["study.study_key"], name=op.f("fk_study_assignment_study_key_study")),
        sa.ForeignKeyConstraint(
            ["patient_key"], ["patient.patient_key"], name=op.f("fk_study_assignment_patient_key_patient")
        ),
        sa.PrimaryKeyConstraint("study_key", name=op.f("pk_study_assignment")),
    )
    with op.batch_alter_table("study_assignment", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_study_assignment_patient_key"), ["patient_key"], unique=False)
    op.create_table(
        "rehoming",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_key", sa.String(), nullable=False),
        sa.Column("from_key", sa.String(), nullable=False),
        sa.Column("to_key", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("taken_back", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["study_key"], ["study.study_key"], name=op.f("fk_rehoming_study_key_study")),
        sa.ForeignKeyConstraint(["from_key"], ["patient.patient_key"], name=op.f("fk_rehoming_from_key_patient")),
        sa.ForeignKeyConstraint(["to_key"], ["patient.patient_key"], name=op.f("fk_rehoming_to_key_patient")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rehoming")),
        sa.UniqueConstraint("study_key", "revision", name=op.f("uq_rehoming_study_key_revision")),
    )
    op.create_table(
        "merged_lesion",
        sa.Column("patient_key", sa.String(), nullable=False),
        sa.Column("tracking_uid", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tracking_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["patient_key"], ["patient.patient_key"], name=op.f("fk_merged_lesion_patient_key_patient")
        ),
        sa.ForeignKeyConstraint(
            ["tracking_uid"], ["lesion.tracking_uid"], name=op.f("fk_merged_lesion_tracking_uid_lesion")
        ),
        sa.PrimaryKeyConstraint("patient_key", "tracking_uid", name=op.f("pk_merged_lesion")),
        sa.UniqueConstraint("patient_key", "number", name=op.f("uq_merged_lesion_patient_key_number")),
    )
    op.create_table(
        "hl7_message",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=256), nullable=False),
        sa.Column("control_id", sa.String(length=199), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("answer", sa.String(length=2), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hl7_message")),
        sa.UniqueConstraint("sender", "control_id", name=op.f("uq_hl7_message_sender_control_id")),
    )
    with op.batch_alter_table("hl7_message", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_hl7_message_received_at"), ["received_at"], unique=False)


def downgrade() -> None:
    for table in ("hl7_message", "merged_lesion", "rehoming", "study_assignment", "patient_merge"):
        op.drop_table(table)
    with op.batch_alter_table("patient_identifier", schema=None) as batch_op:
        batch_op.drop_column("looked_up_at")
