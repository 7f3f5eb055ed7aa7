from __future__ import annotations

import pickle

from gateway.upstreams.sql.postgres.written import Grammar, Named, Written


def test_truncate_is_no_schema_change() -> None:
    named = (Named(verb="drop", kind="table", schema=None, name="t"),)

    assert Written(sql="", verb="drop", asks=None, named=named).schema_change
    assert not Written(sql="", verb="truncate", asks=None, named=named).schema_change
    assert not Written(sql="", verb="select", asks="").schema_change


def test_facts_travel_between_processes() -> None:
    grammar = Grammar(text="x", statements=(Written(sql="x", verb="select", asks="x"),))

    assert pickle.loads(pickle.dumps(grammar)) == grammar
