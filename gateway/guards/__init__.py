"""Guards run after policy and can only tighten what it decided."""
