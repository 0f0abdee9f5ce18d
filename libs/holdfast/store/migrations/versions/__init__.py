"""One file per released schema, oldest first."""
