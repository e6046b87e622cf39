"""How far the index of a receiver has followed what it acknowledged

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from gateway.column_types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("worker_beat", schema=None) as batch_op:
        batch_op.add_column(sa.Column("indexed_until", UtcDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("worker_beat", schema=None) as batch_op:
        batch_op.drop_column("indexed_until")
