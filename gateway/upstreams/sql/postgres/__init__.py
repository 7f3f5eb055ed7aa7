"""PostgreSQL: parse, attempt, capture and unwind of one kind of source."""
