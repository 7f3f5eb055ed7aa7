from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.errors import UpstreamError
from gateway.model import EffectState
from gateway.upstreams.sql.mysql import receipts
from gateway.upstreams.sql.mysql.catalog import OWN_SCHEMA
from gateway.upstreams.sql.mysql.session import Door, Session, Timeouts
from tests.fixtures.mariadb_server import MariadbServer


@pytest.fixture
def pair(mariadb_server: MariadbServer) -> Iterator[tuple[Session, Session]]:
    door = Door("app", mariadb_server.url(), Timeouts(statement=9, lock=1, idle=30))
    one, other = door.connect(), door.connect()
    one.run("DROP DATABASE IF EXISTS holdfast")
    assert not receipts.there(one)
    receipts.prepare(one)
    assert receipts.there(one)
    yield one, other
    one.close()
    other.close()


def test_a_call_that_committed_is_applied(pair: tuple[Session, Session]) -> None:
    one, other = pair
    one.run("START TRANSACTION")
    receipts.write(one, "call_1")
    one.run("COMMIT")
    assert receipts.ask(other, "call_1") is EffectState.APPLIED
    assert receipts.ask(other, "call_1") is EffectState.APPLIED


def test_a_call_whose_transaction_is_open_is_unknown(pair: tuple[Session, Session]) -> None:
    one, other = pair
    one.run("START TRANSACTION")
    receipts.write(one, "call_1")
    assert receipts.ask(other, "call_1") is EffectState.UNKNOWN
    one.run("ROLLBACK")
    assert receipts.ask(other, "call_1") is EffectState.NONE


def test_an_answer_stays_true_for_ever(pair: tuple[Session, Session]) -> None:
    """Who was told that a call had no effect can rely on it: the call can no longer commit."""
    one, other = pair
    assert receipts.ask(other, "call_1") is EffectState.NONE
    one.run("START TRANSACTION")
    with pytest.raises(UpstreamError):
        receipts.write(one, "call_1")
    one.run("ROLLBACK")
    assert receipts.ask(other, "call_1") is EffectState.NONE


def test_old_lines_are_swept(pair: tuple[Session, Session]) -> None:
    one, _ = pair
    one.run(
        f"INSERT INTO {receipts.TABLE} (call_id, state, made_at) VALUES ('old', 'done', "
        "'2001-01-01'), ('new', 'done', NOW())"
    )
    receipts.sweep(one)
    assert one.texts(f"SELECT call_id FROM {receipts.TABLE}") == [("new",)]


def test_a_missing_table_says_what_to_grant(pair: tuple[Session, Session]) -> None:
    one, _ = pair
    one.run("DROP DATABASE holdfast")
    with pytest.raises(UpstreamError) as error:
        receipts.write(one, "call_1")
    assert error.value.reason == "undo.unavailable"


def test_what_commits_by_itself_is_told_by_its_trace(pair: tuple[Session, Session]) -> None:
    one, other = pair
    one.run(f"CREATE TABLE {OWN_SCHEMA}.trace (a INT)")
    for sign, name, effect in (
        ("+", "trace", EffectState.APPLIED),
        ("+", "nothing", EffectState.NONE),
        ("-", "trace", EffectState.NONE),
        ("-", "nothing", EffectState.APPLIED),
        ("?", "nothing", EffectState.NONE),
        ("?", "trace", EffectState.UNKNOWN),
    ):
        call = f"call_{ord(sign)}_{name}"
        receipt = f"{call}|{sign}{OWN_SCHEMA}|{name}"
        receipts.announce(one, call)
        assert receipts.ask(other, receipt) is EffectState.UNKNOWN  # it may still run
        one.rows(f"SELECT RELEASE_LOCK('holdfast:{call}')")
        assert receipts.ask(other, receipt) is effect
        assert receipts.ask(other, receipt) is effect


def test_a_statement_that_was_given_up_does_not_begin(pair: tuple[Session, Session]) -> None:
    one, other = pair
    assert receipts.ask(other, "call_1|+holdfast|q") is EffectState.NONE
    with pytest.raises(UpstreamError):
        receipts.announce(one, "call_1")


def test_what_was_settled_is_applied(pair: tuple[Session, Session]) -> None:
    one, other = pair
    receipts.announce(one, "call_1")
    receipts.settled(one, "call_1")
    assert receipts.ask(other, "call_1|+holdfast|nothing") is EffectState.APPLIED


def test_tables_of_trials_that_were_cut_off_go(
    pair: tuple[Session, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = pair
    for name in ("w_1", "wide", "q_1"):
        one.run(f"CREATE TABLE {OWN_SCHEMA}.{name} (id INT)")
    receipts.sweep(one)
    assert len(one.rows(f"SHOW TABLES FROM {OWN_SCHEMA}")) == 4
    monkeypatch.setattr(receipts, "_TRIAL_HOURS", -1)
    receipts.sweep(one)
    left = {name for (name,) in one.texts(f"SHOW TABLES FROM {OWN_SCHEMA}")}
    assert left == {"receipts", "wide", "q_1"}
