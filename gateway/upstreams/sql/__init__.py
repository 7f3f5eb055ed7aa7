"""SQL sources. One package per database; ``gate``, ``display`` and ``values`` are shared."""
