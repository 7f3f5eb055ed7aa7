from __future__ import annotations

import threading
import time

from gateway.upstreams.sql.sqlite.watchdog import Watchdog


class Statement:
    def __init__(self) -> None:
        self.stopped = threading.Event()

    def interrupt(self) -> None:
        self.stopped.set()


def test_a_statement_is_interrupted_when_its_time_is_up_and_no_other() -> None:
    dog, late, early, over = Watchdog(), Statement(), Statement(), Statement()
    now = time.monotonic()
    dog.watch(late, now + 60)
    dog.watch(early, now + 0.05)  # before the one that the thread waits for already
    dog.watch(over, now + 0.05)
    dog.forget(over)
    assert early.stopped.wait(5)
    assert not late.stopped.is_set()
    assert not over.stopped.is_set()


def test_one_that_is_watched_again_has_the_new_time() -> None:
    dog, one, other = Watchdog(), Statement(), Statement()
    dog.watch(one, time.monotonic() + 0.02)
    dog.watch(one, time.monotonic() + 60)
    dog.watch(other, time.monotonic() + 0.05)
    assert other.stopped.wait(5)
    assert not one.stopped.is_set()
