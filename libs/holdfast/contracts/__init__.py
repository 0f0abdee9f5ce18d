"""What travels between services: messages, rows, amounts, and the table of streams. Pydantic and the standard library only."""
