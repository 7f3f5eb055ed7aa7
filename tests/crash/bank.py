"""The scenario of the kill tests: a small bank whose every call shows in the balances, so that a
call done twice, lost or half reverted cannot hide."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.audit import digest_of
from gateway.model import Call, Subject, Surface

ACCOUNTS = 12
State = dict[int, int]

SCHEMA = (
    "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
    "CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER NOT NULL "
    "REFERENCES account (id) ON DELETE CASCADE, amount INTEGER NOT NULL)",
)


def initial() -> State:
    return {id: 100 * id for id in range(1, ACCOUNTS + 1)}


@dataclass(frozen=True)
class Deed:
    """One call of the scenario and what it does to the balances."""

    sql: str
    account: int
    delta: int | None  # None deletes the account

    def apply(self, state: State) -> None:
        if self.account not in state:
            return
        if self.delta is None:
            del state[self.account]
        else:
            state[self.account] += self.delta


def deeds(seed: int, count: int) -> list[Deed]:
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        account = rng.randint(1, ACCOUNTS)
        if rng.random() < 0.3:
            found.append(Deed(f"DELETE FROM account WHERE id = {account}", account, None))
        else:
            delta = rng.randint(1, 50)
            sql = f"UPDATE account SET balance = balance + {delta} WHERE id = {account}"
            found.append(Deed(sql, account, delta))
    return found


def call_of(number: int, deed: Deed, tool: str) -> Call:
    request = {"sql": deed.sql, "params": []}
    return Call(
        id=f"call_{number:04d}",
        subject=Subject(id="a7", roles=("developer",), session="crash"),
        surface=Surface.SQL,
        tool=tool,
        request=request,
        digest=digest_of(Surface.SQL, tool, request),
        received_at=datetime.now(UTC),
        idempotency_key=f"k{number}",
    )


def expected(done: Sequence[Deed], entries: Mapping[int, int]) -> tuple[State, State]:
    """Balances, and the entries that are left, after ``done`` in order."""
    state = initial()
    for deed in done:
        deed.apply(state)
    return state, {id: account for id, account in entries.items() if account in state}
