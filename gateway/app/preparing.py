"""``holdfast source prepare``."""

from __future__ import annotations

from gateway.app.life import seed_sources
from gateway.app.parts import assemble
from gateway.config import Config
from gateway.errors import NotFound
from gateway.interfaces import Piece, Preparable


async def prepare(
    config: Config,
    source: str,
    *,
    apply: bool,
    include: frozenset[str] = frozenset(),
    admin_url: str | None = None,
) -> list[Piece]:
    """Raises ``NotFound`` for a kind of source that needs nothing, and ``UpstreamError``."""
    seed_sources(config)
    upstream = assemble(config).sources[source]
    if not isinstance(upstream, Preparable):
        raise NotFound(f"There is nothing to prepare in {source}: see `holdfast check`.")
    try:
        return await upstream.prepare(apply=apply, include=include, admin_url=admin_url)
    finally:
        await upstream.close()
