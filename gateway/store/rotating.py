"""Rotation of keys: the key of every image is wrapped anew, the image stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gateway.errors import ImageDamaged
from gateway.interfaces import Rotation
from gateway.store.binding import rebind
from gateway.store.sealing import Keys
from gateway.store.tables import Tables
from gateway.store.trail import write

_BATCH = 500


@dataclass(slots=True, kw_only=True)
class Turn:
    """One rotation, a batch of rows per transaction, so that calls get their turn in between. One
    that stops half way leaves every image readable and can be done again."""

    keys: Keys
    by: str
    _after: int = 0
    _rewrapped: int = 0
    _damaged: int = 0
    _plain: int = 0

    def step(self, t: Tables, now: datetime) -> bool:
        """Whether there may be more."""
        rows = t.wrapped_snapshots(self.keys.active, self._after, _BATCH)
        before, damaged = self._rewrapped, self._damaged
        for row in rows:
            try:
                wrapped = rebind(self.keys, row)
            except ImageDamaged:
                self._damaged += 1
                continue
            t.rewrap_snapshot(row.id, wrapped.id, wrapped.key)
            self._rewrapped += 1
        if rows:
            self._after = rows[-1].ord
        self._plain = t.count_unsealed()
        body = {
            "key": self.keys.active,
            "from": sorted({row.key_id or "" for row in rows}),
            "rewrapped": self._rewrapped - before,
            "damaged": self._damaged - damaged,
            "by": self.by,
        }
        write(t, now, "snapshots.rotate", body)
        return len(rows) == _BATCH

    def done(self) -> Rotation:
        return Rotation(
            key=self.keys.active,
            rewrapped=self._rewrapped,
            damaged=self._damaged,
            plain=self._plain,
        )
