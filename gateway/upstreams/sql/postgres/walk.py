"""Walks over libpg_query's tree. Generic, by the messages' own descriptors: no field and no
nesting can be passed over, and what is not on a list is reported by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gateway.upstreams.sql.postgres.libpg import pg
from gateway.upstreams.sql.postgres.listed import KNOWN_TYPES

_LOCATIONS = frozenset(
    """
    location stmt_location stmt_len list_start list_end rexpr_list_start rexpr_list_end
    """.split()  # noqa: SIM905 - a list of words
)

# Everything that a SELECT, INSERT, UPDATE, DELETE or MERGE is made of.
QUERY_NODES = frozenset(
    """
    Node List Integer Float Boolean String BitString
    SelectStmt InsertStmt UpdateStmt DeleteStmt MergeStmt MergeWhenClause
    ResTarget MultiAssignRef SetToDefault OnConflictClause InferClause IndexElem
    ReturningClause ReturningOption LockingClause
    WithClause CommonTableExpr CTESearchClause CTECycleClause
    RangeVar RangeSubselect RangeFunction ColumnDef RangeTableSample RangeTableFunc
    RangeTableFuncCol JoinExpr Alias SortBy WindowDef GroupingSet GroupingFunc
    ColumnRef A_Star A_Const ParamRef A_Expr BoolExpr FuncCall NamedArgExpr A_Indirection
    A_Indices A_ArrayExpr TypeCast TypeName CollateClause CaseExpr CaseWhen CoalesceExpr
    MinMaxExpr NullTest BooleanTest SubLink RowExpr SQLValueFunction MergeSupportFunc
    XmlExpr XmlSerialize CurrentOfExpr
    JsonFormat JsonOutput JsonReturning JsonValueExpr JsonArgument JsonBehavior JsonKeyValue
    JsonFuncExpr JsonTable JsonTableColumn JsonTablePathSpec JsonParseExpr JsonScalarExpr
    JsonSerializeExpr JsonObjectConstructor JsonArrayConstructor JsonArrayQueryConstructor
    JsonAggConstructor JsonObjectAgg JsonArrayAgg JsonIsPredicate
    """.split()  # noqa: SIM905 - a list of words
)

# What schema statements are made of beside.
SCHEMA_NODES = QUERY_NODES | frozenset(
    """
    CreateStmt CreateTableAsStmt IntoClause ViewStmt IndexStmt CreateSeqStmt AlterSeqStmt
    CreateSchemaStmt AlterTableStmt AlterTableCmd RenameStmt AlterObjectSchemaStmt DropStmt
    CommentStmt TruncateStmt Constraint TableLikeClause DefElem PartitionSpec PartitionElem
    PartitionBoundSpec PartitionRangeDatum PartitionCmd
    ATAlterConstraint GrantStmt AlterDefaultPrivilegesStmt AccessPriv RoleSpec ObjectWithArgs
    FunctionParameter CreateEnumStmt CompositeTypeStmt CreateDomainStmt CreatePolicyStmt
    AlterPolicyStmt CreateStatsStmt StatsElem
    """.split()  # noqa: SIM905 - a list of words
)


def boolean_of(option: Any) -> bool | None:
    """The value of an option that may stand alone, ``None`` where it is no boolean."""
    arg = unwrap(option.arg) if option.HasField("arg") else None
    if arg is None:
        return True
    if name_of(arg) == "Integer":
        return {0: False, 1: True}.get(arg.ival)
    if name_of(arg) == "Boolean":
        return bool(arg.boolval)
    if name_of(arg) == "String":
        return {"true": True, "on": True, "false": False, "off": False}.get(arg.sval.lower())
    return None


def name_of(message: Message) -> str:
    return str(message.DESCRIPTOR.name)


def unwrap(node: Any) -> Any:
    """What a ``Node`` holds; ``None`` when it holds nothing."""
    which = node.WhichOneof("node")
    return None if which is None else getattr(node, which)


def messages(root: Any) -> Iterator[Any]:
    """``root`` and every message in it, in no particular order. Not recursive: the tree may be
    as deep as the text is long."""
    stack: list[Any] = [root]
    while stack:
        message = stack.pop()
        yield message
        stack.extend(children(message))


def children(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            if field.is_repeated:
                yield from value
            else:
                yield value


def unlisted(root: Message, allowed: frozenset[str]) -> str | None:
    """The name of a node in ``root`` that is not on the list."""
    for message in messages(root):
        if name_of(message) not in allowed:
            return name_of(message)
    return None


def bare(root: Message) -> bytes:
    """The tree without the places in the text where its parts stand: equal for equal meaning."""
    copy = type(root)()
    copy.CopyFrom(root)
    for message in messages(copy):
        for field in message.DESCRIPTOR.fields:
            if field.name in _LOCATIONS:
                message.ClearField(field.name)
    return copy.SerializeToString(deterministic=True)


def texts(nodes: Any) -> tuple[str, ...]:
    """The values of a list of ``String`` nodes; ``*`` and other things are left out."""
    return tuple(n.string.sval for n in nodes if n.WhichOneof("node") == "string")


def types_in(nodes: Iterable[Any]) -> frozenset[str]:
    """The bare names of types that ``nodes`` spell, well-known ones left out."""
    names = {texts(m.names)[-1] for m in nodes if name_of(m) == "TypeName"}
    return frozenset(names - KNOWN_TYPES)


def restricts(condition: Any) -> bool:
    """Whether a WHERE looks at a column in a way that may leave rows out: not ``true``, ``1 = 1``
    or ``id = id``. A cheap rule; the extent that counts is measured when the statement runs."""
    stack: list[Any] = [("test", condition)]
    # Post-order without recursion: AND needs one part that restricts, OR needs all.
    answers: list[bool] = []
    while stack:
        what, value = stack.pop()
        if what == "join":
            kind, count = value
            parts = [answers.pop() for _ in range(count)]
            answers.append(any(parts) if kind == pg.AND_EXPR else all(parts))
            continue
        inner = unwrap(value)
        if inner is not None and name_of(inner) == "BoolExpr" and inner.boolop != pg.NOT_EXPR:
            stack.append(("join", (inner.boolop, len(inner.args))))
            stack.extend(("test", part) for part in inner.args)
        else:
            row = inner is not None and name_of(inner) == "CurrentOfExpr"
            answers.append(row or (inner is not None and _looks_at_column(inner)))
    return answers[0]


def _compares_same(expression: Any) -> bool:
    return bare(expression.lexpr) == bare(expression.rexpr)


def _looks_at_column(condition: Any) -> bool:
    if name_of(condition) == "A_Expr" and _compares_same(condition):
        return False
    stack: list[Any] = [condition]
    while stack:
        message = stack.pop()
        if name_of(message) == "ColumnRef":
            return True
        if name_of(message) == "SubLink":
            # A column of the subquery bounds nothing; the one it is compared with may.
            stack.append(message.testexpr)
        else:
            stack.extend(children(message))
    return False
