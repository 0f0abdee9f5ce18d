"""The canonical store: schema, migrations, one writer. Only the ledger (and its tools) opens it; SQLAlchemy stays in here."""
