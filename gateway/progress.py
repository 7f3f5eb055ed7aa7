"""What a running revert tells: how far it is, and every conflict that it finds.

A list of conflicts can be as long as the table that the call changed. Beyond the first few it goes
through an unnamed temporary file into the store, a page at a time: neither memory nor the job grow
with it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO

from gateway.interfaces import RevertStore
from gateway.model import Conflict, Step

_IN_MEMORY = 1 << 20
_PAGE = 500


@dataclass(slots=True)
class Progress:
    """Rows so far, of all that there are, in the group that runs now."""

    done: int = 0
    total: int = 0


class Told:
    """The ``Watch`` of one unwinding. Close it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        # Lives as long as this does: ``close`` ends both.
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        self._count = 0

    def conflict(self, call: str, conflict: Conflict) -> None:
        line = json.dumps([call, conflict.as_json()], ensure_ascii=True)
        self._spool.write(line.encode("ascii") + b"\n")
        self._count += 1

    def progress(self, done: int, total: int) -> None:
        self._progress.done, self._progress.total = done, total

    async def keep(self, store: RevertStore, job: str, steps: Sequence[Step]) -> None:
        """Writes the list into the store, in place of what an earlier try wrote for these calls.
        An upstream that tells nothing has all its conflicts in its steps."""
        if not self._count:
            for step in steps:
                for conflict in step.conflicts:
                    self.conflict(step.call, conflict)
        if not self._count:
            return
        await store.forget_conflicts(job, [step.call for step in steps])
        self._spool.seek(0)
        told = self._read()
        while page := list(islice(told, _PAGE)):
            await store.add_conflicts(job, page)

    def _read(self) -> Iterator[tuple[str, Conflict]]:
        for line in self._spool:
            call, told = json.loads(line)
            yield call, Conflict(**told)

    def close(self) -> None:
        self._spool.close()
