"""Demo data and the replayed incident."""
