"""Alembic's scripts: the schema as released, step by step. `opening` runs them; nobody runs alembic by hand."""
