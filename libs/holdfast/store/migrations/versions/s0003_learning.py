"""Learned thresholds, how learning stands, and the outcomes of closed trades that it learns from."""

from alembic import op

from holdfast.store import schema

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the three tables, unless the first schema was made by this version and has them already."""
    for table in (schema.learning, schema.thresholds, schema.outcomes):
        table.create(op.get_bind(), checkfirst=True)
