"""Images whose bytes were deleted because their time was over

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "released_image",
        sa.Column("instance_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("header_blob", sa.String(length=64), nullable=False),
        sa.Column("released_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instance.id"], name=op.f("fk_released_image_instance_id_instance")),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("pk_released_image")),
    )
    op.create_index(op.f("ix_released_image_header_blob"), "released_image", ["header_blob"])


def downgrade() -> None:
    op.drop_index(op.f("ix_released_image_header_blob"), table_name="released_image")
    op.drop_table("released_image")
