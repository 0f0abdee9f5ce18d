"""The processes: run, never imported. Each folder is one service, with the same four files."""
