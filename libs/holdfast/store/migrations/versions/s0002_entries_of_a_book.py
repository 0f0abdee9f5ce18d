"""An index on the live entries of each book, which the foreign key from orders to books looks through."""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the index, unless the first schema was made by this version and has it already."""
    op.create_index(
        "orders_entry_of_book",
        "orders",
        ["entry_book", "entry_side"],
        if_not_exists=True,
        sqlite_where=text("entry_book IS NOT NULL"),
        postgresql_where=text("entry_book IS NOT NULL"),
    )
