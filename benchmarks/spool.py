"""``python -m benchmarks.spool [--rows N] [--rounds N]``: images into the store and back, plain and
encrypted, beside a plain write of the same bytes with fsync; in turns, medians."""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.model import Reversibility, Spooled, Undo
from gateway.store.images import Images
from gateway.store.sealing import Keys, new_key
from gateway.store.shelves import FolderShelf

_CHUNK = 64 * 1024
_PLANS = ("free", "pro", "enterprise")


def rows(count: int) -> bytes:
    """COPY text of rows of about 180 bytes, as unlike each other as those of a shop."""
    random_ = random.Random(7)
    lines = []
    for id_ in range(count):
        digest = hashlib.blake2b(str(id_).encode(), digest_size=8).hexdigest()
        lines.append(
            f"{id_}\tcustomer {digest}\t{digest[:6]}.{id_}@example.com\t"
            f"{random_.choice(_PLANS)}\t{random_.randrange(10**7) / 100}\t"
            f'{{"street": "{random_.randrange(10**6)} Main Road", "zip": "{id_ % 99999:05}"}}\t'
            f"2026-01-{1 + id_ % 28:02} 12:00:00+00\n"
        )
    return "".join(lines).encode()


def written(folder: Path, image: bytes) -> int:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for chunk in chunks(image):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return len(image)


def chunks(image: bytes) -> Iterator[bytes]:
    view = memoryview(image)
    for start in range(0, len(view), _CHUNK):
        yield bytes(view[start : start + _CHUNK])


def spooled(images: Images, image: bytes) -> Spooled:
    with images.spool(most=len(image)) as spool:
        for chunk in chunks(image):
            spool.write(chunk)
        stored = spool.finish()
        spool.kept = True  # as the store does when a permit asks for it
    return stored


def read(images: Images, stored: Spooled) -> int:
    undo = Undo(upstream="box", kind="bench", reversibility=Reversibility.EXACT, spooled=stored)
    return sum(len(piece) for piece in images.read(undo))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of CPU."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def run(count: int, rounds: int) -> str:
    image = rows(count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shelf = FolderShelf(folder / "images")
        shelf.open()
        plain = Images(shelf)
        sealed = Images(shelf, keys=Keys({"k": new_key()}, active="k"))
        stored = {plain: spooled(plain, image), sealed: spooled(sealed, image)}
        work: dict[str, Callable[[], object]] = {
            "plain write and fsync": lambda: written(folder, image),
            "spool": lambda: spooled(plain, image),
            "spool, encrypted": lambda: spooled(sealed, image),
            "read, proven": lambda: read(plain, stored[plain]),
            "read, proven, encrypted": lambda: read(sealed, stored[sealed]),
        }
        taken: dict[str, list[tuple[float, float]]] = {what: [] for what in work}
        for _ in range(rounds):
            for what, one in work.items():
                taken[what].append(timed(one))
    packed = stored[plain].packed or 0
    lines = [
        f"{count:,} rows, {len(image) / count:.0f} bytes each, {len(image) / 1e6:.0f} MB; stored "
        f"{packed / count:.1f} bytes per row; {rounds} rounds",
        "",
        "| work | s | CPU s | MB/s |",
        "|---|---:|---:|---:|",
    ]
    for what, times in taken.items():
        clock = statistics.median(t for t, _ in times)
        cpu = statistics.median(t for _, t in times)
        lines.append(f"| {what} | {clock:.3f} | {cpu:.3f} | {len(image) / 1e6 / clock:,.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spool", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(run(options.rows, options.rounds))


if __name__ == "__main__":
    main()
