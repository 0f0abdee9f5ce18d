"""What the portfolio rules remember of each account."""

from alembic import op

from holdfast.store import schema

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table, unless the first schema was made by this version and has it already."""
    schema.risk.create(op.get_bind(), checkfirst=True)
