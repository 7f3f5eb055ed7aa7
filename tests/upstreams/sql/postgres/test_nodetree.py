from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstreams.sql.postgres.nodetree import (
    Command,
    TreeFacts,
    UnknownTree,
    Use,
    read_tree,
)

CONST = "{CONST :consttype 23 :constvalue 4 [ 1 0 0 0 0 0 0 0 ]}"
ENTRY = (
    '{RANGETBLENTRY :alias <> :eref {ALIAS :aliasname t :colnames ("id" "a b")} :rtekind 0 '
    ":relid 16384 :relkind r :requiredPerms 10 :selectedCols (b 8 9) :insertedCols (b) "
    ":updatedCols (b 7)}"
)
QUERY = f"({{QUERY :commandType 4 :resultRelation 1 :rtable ({ENTRY}) :targetList ({CONST})}})"


def test_collects_relations_columns_and_commands() -> None:
    facts = read_tree(QUERY)

    assert facts.commands == [Command(command=4, relation=16384)]
    assert facts.uses == [
        Use(relation=16384, required=10, selected=(1, 2), inserted=(), updated=(0,))
    ]
    assert facts.made == {23}


def test_collects_functions_operators_and_types() -> None:
    facts = read_tree(
        "{OPEXPR :opno 96 :opfuncid 65 :opresulttype 16 :args ("
        "{FUNCEXPR :funcid 870 :funcresulttype 25 :args <>} "
        "{COERCETODOMAIN :arg {VAR :vartype 16400} :resulttype 16401} "
        "{AGGREF :aggfnoid 2108 :aggargtypes (o 23 16402)})}"
    )

    assert facts.functions == {65, 870, 2108}
    assert facts.called == {870, 2108}
    assert facts.operators == {96}
    assert facts.made == {25, 16401}
    assert {16400, 16402} <= facts.passed


def test_locks_and_sequences_are_noticed() -> None:
    assert read_tree("({ROWMARKCLAUSE :rti 1})").locks
    assert read_tree("{NEXTVALUEEXPR :seqid 16400 :typeId 20}").draws


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(",
        "{",
        "{QUERY",
        "{CONST :consttype 23}}",
        "({CONST :consttype 23)}",
        "{CONST consttype 23}",
        "{CONST :consttype}",
        "{CONST :consttype x}",
        "{CONST :consttype 23 :consttype 24}",
        "{CONST :constvalue 4 [ 1 {FUNCEXPR :funcid 1} ]}",
        "{CONST :constvalue 4 [ 1 0",
        "{NEWNODE :a 1}",
        "{CONST :newfield 16400}",
        "{FUNCEXPR :newlist (o 16400)}",
        "{FUNCEXPR :newlist (({CONST :consttype 1} 5))}",
        "{QUERY :commandType 6 :resultRelation 0}",
        "{QUERY :commandType 1 :utilityStmt ?}",
        "{QUERY :commandType 1 :utilityStmt {NOTIFYSTMT :a b}}",
        "({NOTIFYSTMT :conditionname a})",
        "{RANGETBLENTRY :relid 5 :requiredPerms 2 :selectedCols (i 1)}",
        "{ALIAS :aliasname " + "x" * 78 + "\n" + "x" * 20 + "}",
    ],
)
def test_what_is_not_known_makes_the_tree_unknown(text: str) -> None:
    with pytest.raises(UnknownTree):
        read_tree(text)


@pytest.mark.parametrize(
    "name", [":funcid", "\\{CONST", "a\\ b", "\\(b", "[", "<>x", "\\\\", "\\<>", "}\\"[:0] or "x"]
)
def test_names_are_never_taken_for_structure(name: str) -> None:
    facts = read_tree(f'{{ALIAS :aliasname {name} :colnames ("{name}" "y")}}')

    assert not facts.functions
    assert not facts.made


@given(st.text(alphabet='(){}:<>[] \\\n"abi123FUNCEXPR', max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(UnknownTree):
        assert isinstance(read_tree(text), TreeFacts)


def test_depth_is_no_matter() -> None:
    deep = "{BOOLEXPR :args (" * 5_000 + CONST + ")}" * 5_000

    assert read_tree(deep).made == {23}
