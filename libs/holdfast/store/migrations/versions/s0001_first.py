"""The first schema."""

from alembic import op

from holdfast.store import schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table. Later schemas freeze this one's tables here before they change `schema`."""
    schema.metadata.create_all(op.get_bind())
