"""Whether images would be lost together with what they protect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from gateway.config import Config
from gateway.model import Finding

_LEVELS = {"refuse": "error", "warn": "warning"}


@runtime_checkable
class Placed(Protocol):
    """A source that can tell where its data lies."""

    async def place(self) -> Path | None:
        """The file or folder of the data, where that is on this machine and known."""
        ...


async def shared_places(config: Config, sources: Mapping[str, object]) -> list[Finding]:
    """One finding for each source and each place of ours that would be lost with it: an error
    where ``snapshots.same_place`` refuses that."""
    level = _LEVELS.get(config.snapshots.same_place)
    if level is None:
        return []
    found: list[Finding] = []
    for name, settings in config.sources.items():
        if settings.images_schema is not None:
            message = (
                f"images of {name} lie in its own database (images_schema): what destroys that "
                "database destroys its way back too. Leave images_schema out, or set "
                "snapshots.same_place to allow."
            )
            found.append(Finding(level=level, about=f"source {name}", message=message))
    for name, source in sources.items():
        data = await source.place() if isinstance(source, Placed) else None
        if data is None:
            continue
        for key, kept in _kept(config):
            why = shared(data, kept)
            if why is not None:
                message = (
                    f"{key} lies {why} as the data of {name}: what destroys that destroys its way "
                    "back too. Move it to another disk or to an object store, or set "
                    "snapshots.same_place to allow."
                )
                found.append(Finding(level=level, about=f"source {name}", message=message))
    return [*found, *_reached_by_tools(config, level)]


def _reached_by_tools(config: Config, level: str) -> Iterator[Finding]:
    """Tools by which agents reach the object store of the images."""
    if config.snapshots.url is None:
        return
    bucket = urlsplit(config.snapshots.url).hostname or ""
    endpoint = urlsplit(config.snapshots.endpoint or "")
    for name, tool in config.tools.items():
        at = urlsplit(tool.base_url)
        host = at.hostname or ""
        same_server = endpoint.hostname is not None and at.netloc == endpoint.netloc
        if same_server or host.startswith(f"{bucket}.") or f"/{bucket}" in at.path:
            message = (
                f"{name} reaches the object store that snapshots.url names: who can empty it can "
                "destroy every way back. Keep images where no tool reaches, or set "
                "snapshots.same_place to allow."
            )
            yield Finding(level=level, about=f"tool {name}", message=message)


def _kept(config: Config) -> Iterator[tuple[str, Path]]:
    yield "store.url", Path(config.store.path)
    if config.snapshots.url is None:
        yield "snapshots.path", Path(config.snapshots.path)


def shared(data: Path, kept: Path) -> str | None:
    """What ``kept`` shares with ``data`` (a file or a folder); ``None`` where it is apart."""
    data, kept = data.resolve(), kept.resolve()
    folder = data if data.is_dir() else data.parent
    root = Path(folder.anchor)
    if folder != root and kept.is_relative_to(folder):
        return "in the same folder"
    if kept != root and data.is_relative_to(kept):
        return "around, in the same folders"
    if _device(folder) == _device(kept):
        return "on the same disk"
    return None


def _device(path: Path) -> int:
    """Of ``path``, or of the first folder above it that is there."""
    for candidate in (path, *path.parents):
        if candidate.exists():
            return candidate.stat().st_dev
    return -1
