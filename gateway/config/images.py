"""Settings of images: where they lie, what they are encrypted with, what of them is shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from gateway.config.shape import Misplaced, Settings, refuse
from gateway.config.values import (
    BlankIsNone,
    BucketUrl,
    Bytes,
    ColumnPattern,
    Count,
    Duration,
    HttpUrl,
    Key,
    Name,
    parse_duration,
)


class KeySettings(Settings):
    id: Name
    """Names the key in the store and in the audit log."""
    key: Key
    """32 random bytes in base64; from the environment only."""


class EncryptionSettings(Settings):
    keys: tuple[KeySettings, ...] = ()
    """Keys that images are encrypted with, old ones too; none: images are not encrypted."""
    active: Annotated[Name | None, BlankIsNone] = None
    """The key for new images; default: the first."""
    journals: Literal["refuse", "plain"] = "refuse"
    """With keys: whether SQLite journals, which cannot be encrypted, may be kept all the same."""

    @property
    def active_id(self) -> str | None:
        return self.active or (self.keys[0].id if self.keys else None)

    @model_validator(mode="after")
    def _keys_are_told_apart(self) -> EncryptionSettings:
        faults: Misplaced = []
        ids: set[str] = set()
        for index, key in enumerate(self.keys):
            if key.id in ids:
                faults.append((("keys", index, "id"), f"{key.id!r} is given twice"))
            ids.add(key.id)
        if self.active is not None and self.active not in ids:
            faults.append((("active",), f"there is no key {self.active!r}"))
        refuse(faults)
        return self


class SnapshotSettings(Settings):
    path: Annotated[str, Field(min_length=1)] = "var/snapshots"
    """The folder of images too large for the store."""
    url: Annotated[BucketUrl | None, BlankIsNone] = None
    """An object store for them instead: `s3://bucket/prefix`, `gs://...`, `az://...`."""
    endpoint: Annotated[HttpUrl | None, BlankIsNone] = None
    """Where `url` is served, for stores that speak S3 (MinIO, Ceph); default: AWS itself."""
    encryption: EncryptionSettings = EncryptionSettings()
    """Keys for images at rest."""
    same_place: Literal["refuse", "warn", "allow"] = "warn"
    """What happens at the start when images would lie in what they protect."""
    redact: tuple[ColumnPattern, ...] = ()
    """Columns that no view shows: `table.column`, `*.email`; images keep them exact."""
    inline_bytes: Annotated[int, Field(ge=0, le=2**30)] = 65_536
    """Images up to this size are kept in the store itself."""
    retention: Duration | None = parse_duration("30d")
    """How long a call can be reverted; null keeps images until they are deleted."""
    max_rows: Count = 1_000_000
    """The most row images of one call."""
    max_bytes: Bytes = 536_870_912
    """The largest image of one call."""
    row_images: Annotated[int, Field(ge=0, le=200_000)] = 10_000
    """SQLite: larger calls keep the database's own rollback journal instead of rows."""
    rehearse_rows: Annotated[int, Field(ge=0, le=10**9)] = 1_000
    """Destructive calls up to this many rows have their undo tried before they commit; larger ones
    where policy demands it. 0 turns that off."""

    @model_validator(mode="after")
    def _an_endpoint_serves_s3(self) -> SnapshotSettings:
        if self.endpoint is not None and not (self.url or "").startswith("s3://"):
            refuse([(("endpoint",), "goes with a url that begins with s3://")])
        return self
