"""How calls come in: bytes to a call, a reply to bytes, nothing else."""
