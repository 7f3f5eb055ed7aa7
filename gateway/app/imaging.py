"""Where images are kept, with which keys, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.config import (
    Config,
    EncryptionSettings,
    SnapshotSettings,
    SourceSettings,
    key_bytes,
)
from gateway.errors import StoreUnavailable
from gateway.interfaces import Clock, Spooler
from gateway.model import Finding
from gateway.store.buckets import BucketShelf
from gateway.store.images import Images
from gateway.store.sealing import Keys, missing
from gateway.store.shelves import FolderShelf, Shelf
from gateway.store.sqlite import keys_in_use
from gateway.upstreams.sql.postgres.grants import Logins
from gateway.upstreams.sql.postgres.imageplace import TableShelf
from gateway.upstreams.sql.sqlite.upstream import SqliteUpstream


def images_of(
    settings: SnapshotSettings, clock: Clock, sources: Mapping[str, SourceSettings] | None = None
) -> Images:
    shelf: Shelf = FolderShelf(Path(settings.path))
    if settings.url is not None:
        shelf = BucketShelf(settings.url, endpoint=settings.endpoint, clock=clock)
    return Images(
        shelf,
        inline_bytes=settings.inline_bytes,
        keys=keys_of(settings.encryption),
        elsewhere=dict(_in_targets(sources or {})),
    )


def _in_targets(sources: Mapping[str, SourceSettings]) -> Iterator[tuple[str, Shelf]]:
    """By source, the schemas of targets that images are configured to lie in."""
    for name, source in sources.items():
        if source.images_schema is None or source.capture_url is None:
            continue
        url, own = source.url.get_secret_value(), source.capture_url.get_secret_value()
        agents = Logins.of(url, own).agents
        yield name, TableShelf(name, url=own, schema=source.images_schema, agents=agents)


def spooler_of(images: Images, name: str, source: SourceSettings) -> Spooler:
    """Where the source's images go."""
    return images if source.images_schema is None else images.at(name)


def keys_of(settings: EncryptionSettings) -> Keys | None:
    active = settings.active_id
    if active is None:
        return None
    keys = {k.id: key_bytes(k.key.get_secret_value()) for k in settings.keys}
    return Keys(keys, active=active)


def check_images(config: Config) -> list[Finding]:
    """What stands against the settings of images, without a running gateway. Blocking."""
    found: list[Finding] = []
    keys = keys_of(config.snapshots.encryption)
    try:
        needed = keys_in_use(Path(config.store.path))
    except StoreUnavailable as error:
        return [Finding(level="error", about="store", message=error.detail)]
    without = sorted(id for id in needed if keys is None or id not in keys)
    if without:
        message = missing(without).detail
        found.append(Finding(level="error", about="snapshots.encryption", message=message))
    if keys is None:
        message = "Images are not encrypted at rest: no key is configured."
        found.append(Finding(level="info", about="snapshots.encryption", message=message))
    return found


class SourceRemains:
    """``Remains`` over the sources that keep something themselves. They are made after the store,
    and told then."""

    def __init__(self) -> None:
        self._keeping: dict[str, SqliteUpstream] = {}

    def know(self, sources: Mapping[str, object]) -> None:
        self._keeping = {n: s for n, s in sources.items() if isinstance(s, SqliteUpstream)}

    async def erase(self, upstream: str, call: str) -> None:
        source = self._keeping.get(upstream)
        if source is not None:
            await source.erase(call)
