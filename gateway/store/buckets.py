"""Images in an object store: S3 and what speaks like it, Google Cloud Storage, Azure."""

from __future__ import annotations

import contextlib
import queue
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import obstore
from obstore import exceptions as faults
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from gateway.errors import ImageDamaged, SnapshotFailed
from gateway.interfaces import Clock
from gateway.store.shelves import IMAGE_NAME, SUFFIX, Slot

PART = 8 * 1024 * 1024  # what a capture holds in memory, twice
_PIECE = 256 * 1024
_MISSING = (FileNotFoundError,)
_FAULTS = (faults.BaseError, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an object store may take. Short: a capture holds locks in the target meanwhile."""

    connect_s: float = 3.0
    request_s: float = 15.0
    retries: int = 2
    whole_s: float = 60.0


class BucketShelf:
    """``url``: ``s3://bucket/prefix``, ``gs://...``, ``az://...``; credentials come from the
    environment, the way that store's own tools read it. ``endpoint``: of a store that speaks S3.
    What lies there unused for less than ``grace`` may belong to a call that still runs."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        endpoint: str | None = None,
        patience: Patience | None = None,
        grace: timedelta = timedelta(hours=1),
    ) -> None:
        self._url = url
        self._clock = clock
        self._endpoint = endpoint
        self._patience = patience or Patience()
        self._grace = grace
        self._made: ObjectStore | None = None

    def __repr__(self) -> str:
        return f"BucketShelf({self._url!r})"

    @property
    def _store(self) -> ObjectStore:
        if self._made is None:
            with _told():
                self._made = _connected(self._url, self._endpoint, self._patience)
        return self._made

    def open(self) -> None:
        """Proves that it can be written, read and deleted from. Raises ``OSError``."""
        name = f"holdfast-check-{secrets.token_hex(8)}"
        with _told():
            obstore.put(self._store, name, b"holdfast", use_multipart=False)
            bytes(obstore.get(self._store, name).bytes())
            obstore.delete(self._store, name)

    def slot(self) -> Slot:
        return _BucketSlot(self._store, self._patience)

    def read(self, name: str) -> Iterator[bytes]:
        """Raises ``ImageDamaged`` for what is not there, ``SnapshotFailed`` when the store cannot
        be asked."""
        if not IMAGE_NAME.fullmatch(name):
            raise ImageDamaged("The stored image has a name that no image has.")
        try:
            for piece in obstore.get(self._store, name).stream(min_chunk_size=_PIECE):
                yield bytes(piece)
        except _MISSING as error:
            raise ImageDamaged("The stored image is missing.") from error
        except _FAULTS as error:
            raise SnapshotFailed(f"The stored image cannot be read now: {_why(error)}.") from error

    def remove(self, name: str) -> None:
        with _told(), contextlib.suppress(*_MISSING):
            obstore.delete(self._store, name)

    def holds(self, name: str) -> bool:
        with _told():
            try:
                obstore.head(self._store, name)
            except _MISSING:
                return False
            return True

    def idle(self) -> list[str]:
        before = self._clock.now() - self._grace
        with _told():
            return [
                found["path"]
                for page in obstore.list(self._store)
                for found in page
                if IMAGE_NAME.fullmatch(found["path"]) and found["last_modified"] <= before
            ]


def _connected(url: str, endpoint: str | None, patience: Patience) -> ObjectStore:
    plain = endpoint is not None and urlsplit(endpoint).scheme == "http"
    options = {
        "timeout": timedelta(seconds=patience.request_s),
        "connect_timeout": timedelta(seconds=patience.connect_s),
        "allow_http": plain,
    }
    retries = {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.request_s * 2),
    }
    config = {} if endpoint is None else {"endpoint": endpoint}
    store = from_url(url, config=config, client_options=options, retry_config=retries)  # type: ignore[call-overload]
    if not isinstance(store, S3Store | GCSStore | AzureStore):
        raise ValueError("not an object store")
    return store


class _BucketSlot:
    """Small images are put in one request that refuses to replace anything; larger ones go in
    parts, as they come, from a thread of their own."""

    def __init__(self, store: ObjectStore, patience: Patience) -> None:
        self._store = store
        self._patience = patience
        self.name = f"image-{secrets.token_hex(16)}{SUFFIX}"
        self._part = bytearray()
        self._size = 0
        self._upload: _Upload | None = None

    def write(self, packed: bytes) -> None:
        self._part += packed
        self._size += len(packed)
        if len(self._part) >= PART:
            if self._upload is None:
                self._upload = _Upload(self._store, self.name, self._patience)
            self._upload.send(bytes(self._part))
            self._part.clear()

    def commit(self) -> None:
        if self._upload is None:
            with _told():
                obstore.put(
                    self._store, self.name, bytes(self._part), mode="create", use_multipart=False
                )
        else:
            self._upload.send(bytes(self._part))
            self._upload.end()
        with _told():
            size = obstore.head(self._store, self.name)["size"]
        if size != self._size:
            raise OSError("the object store did not keep all of it")

    def close(self, *, keep: bool) -> None:
        if not keep:
            # Not in the way of whoever ends the attempt; what is left is swept at an open.
            threading.Thread(target=self._discard, daemon=True, name="image-discard").start()

    def _discard(self) -> None:
        if self._upload is not None:
            self._upload.abandon()
        with contextlib.suppress(*_FAULTS):
            obstore.delete(self._store, self.name)


class _Abandoned(Exception):
    """Ends an upload from within, so that its parts are given up."""


class _Upload:
    """A multipart upload that is fed through a queue of one part: whoever writes waits for it."""

    def __init__(self, store: ObjectStore, name: str, patience: Patience) -> None:
        self._patience = patience
        self._parts: queue.Queue[bytes | None] = queue.Queue(maxsize=1)
        self._abandoned = threading.Event()
        self._failed: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(store, name), daemon=True, name="image-upload"
        )
        self._thread.start()

    def _run(self, store: ObjectStore, name: str) -> None:
        try:
            obstore.put(
                store, name, self._given(), use_multipart=True, chunk_size=PART, max_concurrency=2
            )
        except _Abandoned:
            self._failed = OSError("the upload was given up")
        except _FAULTS as error:
            self._failed = error
        finally:
            self._done.set()

    def _given(self) -> Iterator[bytes]:
        while True:
            try:
                part = self._parts.get(timeout=0.2)
            except queue.Empty:
                if self._abandoned.is_set():
                    raise _Abandoned from None
                continue
            if part is None:
                return
            yield part

    def send(self, part: bytes | None) -> None:
        """Raises ``OSError`` when the upload failed or does not move."""
        waited = 0.0
        while True:
            self._check()
            if self._done.is_set():
                raise OSError("the upload ended early")
            try:
                self._parts.put(part, timeout=0.1)
            except queue.Full:
                waited += 0.1
                if waited > self._patience.whole_s:
                    raise OSError("the object store is too slow") from None
                continue
            return

    def end(self) -> None:
        self.send(None)
        if not self._done.wait(self._patience.whole_s):
            raise OSError("the object store is too slow")
        self._check()

    def abandon(self) -> None:
        self._abandoned.set()
        self._done.wait(self._patience.whole_s)

    def _check(self) -> None:
        if self._failed is not None:
            raise OSError(_why(self._failed)) from self._failed


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Faults of the object store as ``OSError`` that says what people need and no more: its own
    texts quote requests and credentials' names."""
    try:
        yield
    except _MISSING as error:
        raise FileNotFoundError("there is no such bucket or object") from error
    except _FAULTS as error:
        raise OSError(_why(error)) from error


def _why(error: BaseException) -> str:
    if isinstance(error, faults.PermissionDeniedError):
        return "the object store denies access"
    if isinstance(error, faults.UnauthenticatedError):
        return "the object store does not accept the credentials"
    if isinstance(error, faults.AlreadyExistsError):
        return "the object store has an object of that name"
    if isinstance(error, _MISSING):
        return "there is no such bucket or object"
    if isinstance(error, OSError) and error.args and not isinstance(error, faults.BaseError):
        return str(error.args[0])
    return "the object store cannot be reached or failed"
