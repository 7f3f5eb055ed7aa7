"""What a snapshot's row says of its image and manifest, sealed where there are keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.errors import ImageDamaged
from gateway.model import Json, Spooled
from gateway.store.cells import dumped, loaded
from gateway.store.rows import SnapshotRow
from gateway.store.sealing import (
    Keys,
    Wrapped,
    missing,
    open_answer,
    open_text,
    seal_answer,
    seal_text,
)

_SEALED = "sealed"


def snapshot_id(call: str) -> str:
    return f"snap_{call.removeprefix('call_')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The cells of a new row. The key opens the image of this call and no other."""

    manifest: str = field(repr=False)
    key: Wrapped | None = field(default=None, repr=False)


def bind(keys: Keys | None, call: str, image: Spooled, manifest: Mapping[str, Json]) -> Bound:
    text = dumped(dict(manifest))
    if keys is None or image.key is None:
        return Bound(manifest=text)
    sealed = dumped({_SEALED: seal_text(image.key, text)})
    return Bound(manifest=sealed, key=keys.wrap(image.key, _place(call, image.sha256, image.size)))


def _place(call: str, sha256: str, size: int) -> bytes:
    return dumped([snapshot_id(call), call, sha256, size]).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    image: Spooled
    manifest: Mapping[str, Json] = field(repr=False)


def find(keys: Keys | None, row: SnapshotRow) -> Found:
    """Raises ``ImageDamaged``, and ``StoreUnavailable`` for a key that is not configured."""
    if row.image is None and row.file is None:
        raise ImageDamaged("The stored image is missing.")
    key = None if row.key_id is None else data_key(keys, row)
    image = Spooled(
        size=row.size,
        sha256=row.sha256,
        inline=row.image,
        file=row.file,
        seal=row.seal,
        packed=row.packed,
        key=key,
    )
    text = row.manifest if key is None else open_text(key, _sealed(row.manifest))
    return Found(image=image, manifest=loaded(text))


def bind_answer(keys: Keys | None, row: SnapshotRow, answer: Mapping[str, Json]) -> str:
    """The cell that keeps ``answer`` beside the image of ``row``. Raises as ``find`` does."""
    text = dumped(dict(answer))
    if row.key_id is None:
        return text
    return dumped({_SEALED: seal_answer(data_key(keys, row), text)})


def find_answer(keys: Keys | None, row: SnapshotRow) -> Mapping[str, Json] | None:
    """Raises as ``find`` does."""
    if row.answer is None:
        return None
    text = row.answer
    if row.key_id is not None:
        text = open_answer(data_key(keys, row), _sealed(text))
    answer: Mapping[str, Json] = loaded(text)
    return answer


def _sealed(manifest: str) -> str:
    found = loaded(manifest)
    sealed = found.get(_SEALED) if isinstance(found, dict) else None
    if not isinstance(sealed, str):
        raise ImageDamaged("What is stored beside an image is not sealed, but the image is.")
    return sealed


def data_key(keys: Keys | None, row: SnapshotRow) -> bytes:
    """The key of ``row``'s image. Raises as ``find`` does."""
    id = row.key_id or ""
    if keys is None:
        raise missing([id])
    if row.data_key is None:
        raise ImageDamaged("The key of the stored image is missing.")
    wrapped = Wrapped(id=id, key=row.data_key)
    return keys.unwrap(wrapped, _place(row.call, row.sha256, row.size))


def rebind(keys: Keys, row: SnapshotRow) -> Wrapped:
    """The key of ``row``'s image under the active key; the image stays as it is."""
    return keys.wrap(data_key(keys, row), _place(row.call, row.sha256, row.size))
