"""Who calls: a token becomes a subject."""
