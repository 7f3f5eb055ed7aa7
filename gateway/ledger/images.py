"""temporary"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import zstandard

from gateway.errors import ImageDamaged, SnapshotFailed
from gateway.interfaces import SnapshotInfo
from gateway.ledger.snapshots import Prepared
from gateway.ledger.tables import StoredSnapshot
from gateway.model import Undo


class ImageFolder:
    def __init__(self, path: Path, *, inline_bytes: int = 65536) -> None:
        self.path = path
        self.inline_bytes = inline_bytes

    async def prepare(self, call: str, undo: Undo, now: datetime, expires_at: datetime | None) -> Prepared:
        try:
            return await asyncio.to_thread(self._prepare, call, undo, now, expires_at)
        except OSError as e:
            raise SnapshotFailed("The before-images could not be stored.") from e

    def _prepare(self, call: str, undo: Undo, now: datetime, expires_at: datetime | None) -> Prepared:
        packed = zstandard.compress(undo.image, 1)
        info = SnapshotInfo(id="snap_" + call.removeprefix("call_"), call=call, upstream=undo.upstream, kind=undo.kind, reversibility=str(undo.reversibility), bytes=len(undo.image), sha256=hashlib.sha256(undo.image).hexdigest(), created_at=now, expires_at=expires_at, deleted_at=None)
        if len(packed) <= self.inline_bytes:
            return Prepared(info=info, undo=undo, file=None, image=packed)
        self.path.mkdir(parents=True, exist_ok=True)
        name = info.id + ".zst"
        with open(self.path / (name + ".new"), "wb") as f:
            f.write(packed)
            f.flush()
            os.fsync(f.fileno())
        os.replace(self.path / (name + ".new"), self.path / name)
        d = os.open(self.path, os.O_RDONLY)
        os.fsync(d)
        os.close(d)
        return Prepared(info=info, undo=undo, file=name, image=None)

    def load(self, s: StoredSnapshot) -> Undo:
        packed = s.image if s.file is None else (self.path / s.file).read_bytes()
        data = zstandard.decompress(packed or b"")
        if hashlib.sha256(data).hexdigest() != s.info.sha256:
            raise ImageDamaged("The stored image is not the recorded one.")
        return replace(s.undo, image=data)

    def remove(self, file: str | None) -> None:
        if file:
            (self.path / file).unlink(missing_ok=True)
