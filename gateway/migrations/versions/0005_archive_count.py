"""What archives say of the number of images of a study

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import Json, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "archive_count",
        sa.Column("study_key", sa.String(length=16), nullable=False),
        sa.Column("archive", sa.String(length=64), nullable=False),
        sa.Column("series", Json, nullable=True),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("first_asked_at", UtcDateTime(), nullable=False),
        sa.Column("asked_at", UtcDateTime(), nullable=False),
        sa.Column("ask_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["study_key"], ["study.study_key"], name=op.f("fk_archive_count_study_key_study")),
        sa.PrimaryKeyConstraint("study_key", name=op.f("pk_archive_count")),
    )


def downgrade() -> None:
    op.drop_table("archive_count")
