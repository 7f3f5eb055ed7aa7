"""What schema statements name, and which of them are accepted."""

from __future__ import annotations

from typing import Any

from gateway.model import Deny
from gateway.upstreams.sql.postgres.libpg import deparse, pg
from gateway.upstreams.sql.postgres.walk import name_of, texts
from gateway.upstreams.sql.postgres.written import Named

_KINDS = {
    pg.OBJECT_TABLE: "table",
    pg.OBJECT_VIEW: "view",
    pg.OBJECT_MATVIEW: "materialized view",
    pg.OBJECT_INDEX: "index",
    pg.OBJECT_SEQUENCE: "sequence",
    pg.OBJECT_SCHEMA: "schema",
}
_RELATIONS = frozenset(_KINDS.values()) - {"schema"}
_ROUTINES = {
    pg.OBJECT_FUNCTION: "function",
    pg.OBJECT_PROCEDURE: "procedure",
    pg.OBJECT_ROUTINE: "routine",
    pg.OBJECT_AGGREGATE: "aggregate",
}
_TYPES = {pg.OBJECT_TYPE: "type", pg.OBJECT_DOMAIN: "domain"}
_PARTS = {pg.OBJECT_TRIGGER: "trigger", pg.OBJECT_RULE: "rule", pg.OBJECT_POLICY: "policy"}
_GRANTED = {
    **_ROUTINES,
    **_TYPES,
    pg.OBJECT_TABLE: "table",
    pg.OBJECT_SEQUENCE: "sequence",
    pg.OBJECT_SCHEMA: "schema",
}
DEFAULTS = "default privileges"  # the name is that of the role, empty for the one that asks
_COMMENTED = (pg.OBJECT_COLUMN, pg.OBJECT_TABCONSTRAINT, pg.OBJECT_TRIGGER, pg.OBJECT_RULE)
_RENAMED = (_KINDS.keys() - {pg.OBJECT_SCHEMA}) | {pg.OBJECT_COLUMN, pg.OBJECT_TABCONSTRAINT}
_ALTERED = frozenset(
    getattr(pg, "AT_" + name)
    for name in """
    AddColumn ColumnDefault DropNotNull SetNotNull SetExpression DropExpression SetStatistics
    SetOptions ResetOptions SetStorage SetCompression DropColumn AddConstraint AlterConstraint
    ValidateConstraint DropConstraint AlterColumnType SetRelOptions ResetRelOptions
    AttachPartition DetachPartition AddIdentity SetIdentity DropIdentity AddInherit DropInherit
    """.split()  # noqa: SIM905 - a list of words
)

Found = tuple[str, tuple[Named, ...], bool]  # verb, what is named, CASCADE


def named(statement: Any) -> Found | Deny | None:
    """``None`` when it is not a schema statement."""
    find = _FINDERS.get(name_of(statement))
    return None if find is None else find(statement)


def alters(statement: Any) -> tuple[str, ...]:
    """The kinds of change that an ALTER TABLE makes."""
    if name_of(statement) != "AlterTableStmt":
        return ()
    return tuple(
        pg.AlterTableType.Name(c.alter_table_cmd.subtype).removeprefix("AT_")
        for c in statement.cmds
    )


def fresh(relation: Any, kind: str) -> Named:
    """The relation that a CREATE makes."""
    return _named("create", kind, relation, is_fresh=True)


def _named(
    verb: str,
    kind: str,
    relation: Any,
    *,
    columns: tuple[str, ...] = (),
    bounded: bool = True,
    is_fresh: bool = False,
) -> Named:
    return Named(
        verb=verb,
        kind=kind,
        schema=relation.schemaname or None,
        name=relation.relname,
        columns=columns,
        bounded=bounded,
        fresh=is_fresh,
        only=not relation.inh,
    )


def _create_table(statement: Any) -> Found:
    columns = tuple(
        e.column_def.colname for e in statement.table_elts if e.WhichOneof("node") == "column_def"
    )
    made = _named("create", "table", statement.relation, columns=columns, is_fresh=True)
    parents = tuple(
        _named("alter", "table", parent.range_var) for parent in statement.inh_relations
    )
    return "create", (made, *parents), False


def _create_index(statement: Any) -> Found | Deny:
    if statement.concurrent:
        return unsupported("CREATE INDEX CONCURRENTLY cannot run in a transaction.")
    columns = tuple(p.index_elem.name or "*" for p in statement.index_params)
    return "create", (_named("create", "index", statement.relation, columns=columns),), False


def _create_sequence(statement: Any) -> Found:
    return "create", (fresh(statement.sequence, "sequence"),), False


def _alter_sequence(statement: Any) -> Found:
    return "alter", (_named("alter", "sequence", statement.sequence),), False


def _create_schema(statement: Any) -> Found | Deny:
    if statement.schema_elts or statement.HasField("authrole"):
        return unsupported("CREATE SCHEMA is accepted with a name only.")
    made = Named(verb="create", kind="schema", schema=None, name=statement.schemaname, fresh=True)
    return "create", (made,), False


def _create_type(statement: Any) -> Found:
    """An enum or a composite type."""
    if name_of(statement) == "CompositeTypeStmt":
        of = statement.typevar
        return "create", (fresh(of, "type"),), False
    return "create", (_fresh_type(texts(statement.type_name), "type"),), False


def _create_domain(statement: Any) -> Found:
    return "create", (_fresh_type(texts(statement.domainname), "domain"),), False


def _fresh_type(path: tuple[str, ...], kind: str) -> Named:
    schema = path[-2] if len(path) > 1 else None
    return Named(verb="create", kind=kind, schema=schema, name=path[-1], fresh=True)


def _policy(statement: Any) -> Found:
    """Of the table, whose rows it shows or hides."""
    verb = "create" if name_of(statement) == "CreatePolicyStmt" else "alter"
    return verb, (_named("alter", "table", statement.table),), False


def _create_statistics(statement: Any) -> Found:
    about = tuple(_named("alter", "table", r.range_var) for r in statement.relations)
    return "create", about, False


def _alter_table(statement: Any) -> Found | Deny:
    kind = _KINDS.get(statement.objtype)
    if kind is None:
        return unsupported("This kind of ALTER is not accepted.")
    columns: dict[str, None] = {}
    others: list[Named] = []
    cascades = False
    for command in (c.alter_table_cmd for c in statement.cmds):
        if command.subtype not in _ALTERED:
            what = pg.AlterTableType.Name(command.subtype).removeprefix("AT_")
            return unsupported(f"ALTER TABLE with {what} is not accepted.")
        columns[command.name or "*"] = None
        of = getattr(command, "def")
        if of.WhichOneof("node") == "column_def":
            columns[of.column_def.colname or "*"] = None
        elif of.WhichOneof("node") == "partition_cmd":
            others.append(_named("alter", kind, of.partition_cmd.name))
        elif of.WhichOneof("node") == "range_var":
            others.append(_named("alter", kind, of.range_var))
        cascades = cascades or command.behavior == pg.DROP_CASCADE
    if len(columns) > 1:
        columns.pop("*", None)
    altered = _named("alter", kind, statement.relation, columns=tuple(columns))
    return "alter", (altered, *others), cascades


def _rename(statement: Any) -> Found | Deny:
    if statement.rename_type not in _RENAMED or not statement.HasField("relation"):
        return unsupported("This kind of RENAME is not accepted.")
    of = statement.relation_type if statement.subname else statement.rename_type
    kind = _KINDS.get(of, "table")
    columns = (statement.subname,) if statement.rename_type == pg.OBJECT_COLUMN else ()
    altered = _named("alter", kind, statement.relation, columns=columns)
    if statement.rename_type in (pg.OBJECT_COLUMN, pg.OBJECT_TABCONSTRAINT):
        return "alter", (altered,), statement.behavior == pg.DROP_CASCADE
    renamed = Named(
        verb="create", kind=kind, schema=altered.schema, name=statement.newname, fresh=True
    )
    return "alter", (altered, renamed), False


def _set_schema(statement: Any) -> Found | Deny:
    kind = _KINDS.get(statement.object_type)
    if kind in (None, "schema", "index") or not statement.HasField("relation"):
        return unsupported("This kind of SET SCHEMA is not accepted.")
    relation = statement.relation
    moved = Named(
        verb="create",
        kind=kind or "table",
        schema=statement.newschema,
        name=relation.relname,
        fresh=True,
    )
    return "alter", (_named("alter", kind or "table", relation), moved), False


def restarts(statement: Any, nodes: list[Any]) -> bool:
    """Whether it sets sequences anew."""
    if name_of(statement) == "TruncateStmt":
        return bool(statement.restart_seqs)
    return any(name_of(m) == "DefElem" and m.defname == "restart" for m in nodes)


def _comment(statement: Any) -> Found | Deny:
    """Of a relation or of something that belongs to one."""
    kind = _KINDS.get(statement.objtype)
    inner = statement.objtype in _COMMENTED
    if statement.object.WhichOneof("node") != "list" or not (inner or kind in _RELATIONS):
        what = pg.ObjectType.Name(statement.objtype).removeprefix("OBJECT_").replace("_", " ")
        return unsupported(f"COMMENT ON {what} is not accepted.")
    path = texts(statement.object.list.items)
    columns = (path[-1],) if statement.objtype == pg.OBJECT_COLUMN else ()
    path = path[:-1] if inner else path
    if not 0 < len(path) <= 2:
        return unsupported("What this comments on cannot be told.")
    schema = path[0] if len(path) > 1 else None
    named = Named(verb="alter", kind=kind or "table", schema=schema, name=path[-1], columns=columns)
    return "alter", (named,), False


def _drop(statement: Any) -> Found | Deny:
    of = statement.remove_type
    kind = _KINDS.get(of) or _ROUTINES.get(of) or _TYPES.get(of) or _PARTS.get(of)
    if kind is None:
        what = pg.ObjectType.Name(of).removeprefix("OBJECT_")
        return unsupported(f"DROP {what.replace('_', ' ')} is not accepted.")
    if statement.concurrent:
        return unsupported("DROP INDEX CONCURRENTLY cannot run in a transaction.")
    dropped = tuple(_object("drop", kind, node) for node in statement.objects)
    return "drop", dropped, statement.behavior == pg.DROP_CASCADE


def _object(verb: str, kind: str, node: Any) -> Named:
    """Any object by its name, as a DROP or a GRANT has it."""
    which, part, arguments = node.WhichOneof("node"), "", None
    if which == "object_with_args":
        path = texts(node.object_with_args.objname)
        if not node.object_with_args.args_unspecified:
            arguments = ", ".join(spelled_type(t) for t in node.object_with_args.objargs)
    elif which == "type_name":
        path = texts(node.type_name.names)
    elif which == "range_var":
        path = tuple(n for n in (node.range_var.schemaname, node.range_var.relname) if n)
    else:
        path = texts(node.list.items) if which == "list" else texts([node])
    if kind in _PARTS.values():
        part, path = path[-1], path[:-1]
    return Named(
        verb=verb,
        kind=kind,
        schema=path[-2] if len(path) > 1 else None,
        name=path[-1],
        bounded=False,
        part=part,
        arguments=arguments,
    )


def spelled_type(node: Any) -> str:
    """A type as its name is written."""
    cast = pg.Node()
    cast.type_cast.arg.a_const.isnull = True
    cast.type_cast.type_name.CopyFrom(node.type_name)
    target = pg.Node()
    target.res_target.val.CopyFrom(cast)
    select = pg.Node()
    select.select_stmt.target_list.append(target)
    return deparse(select).partition("::")[2]


def _grant(statement: Any) -> Found | Deny:
    """GRANT and REVOKE of privileges; those of whole roles are no part of one database."""
    verb = "grant" if statement.is_grant else "revoke"
    kind = _GRANTED.get(statement.objtype)
    if kind is None:
        what = pg.ObjectType.Name(statement.objtype).removeprefix("OBJECT_").replace("_", " ")
        return unsupported(f"{verb.upper()} ON {what} is not accepted.")
    if statement.targtype == pg.ACL_TARGET_ALL_IN_SCHEMA:
        found = tuple(
            Named(verb="alter", kind=kind, schema=s, name="*", bounded=False)
            for s in texts(statement.objects)
        )
    else:
        found = tuple(_object("alter", kind, node) for node in statement.objects)
    return verb, found, statement.behavior == pg.DROP_CASCADE


def _default_grant(statement: Any) -> Found | Deny:
    schemas: tuple[str | None, ...] = (None,)
    roles: tuple[str, ...] = ("",)
    for option in (o.def_elem for o in statement.options):
        if option.defname == "schemas":
            schemas = texts(option.arg.list.items)
        elif option.defname == "roles":
            specs = [n.role_spec for n in option.arg.list.items]
            if any(s.roletype not in (pg.ROLESPEC_CSTRING, pg.ROLESPEC_CURRENT_USER,
                                      pg.ROLESPEC_CURRENT_ROLE) for s in specs):  # fmt: skip
                return unsupported("Whose default privileges these are cannot be told.")
            roles = tuple(s.rolename for s in specs)
    verb = "grant" if statement.action.is_grant else "revoke"
    found = tuple(
        Named(verb="alter", kind=DEFAULTS, schema=schema, name=role, bounded=False)
        for schema in schemas
        for role in roles
    )
    return verb, found, False


def _truncate(statement: Any) -> Found:
    cleared = tuple(
        _named("truncate", "table", r.range_var, bounded=False) for r in statement.relations
    )
    return "truncate", cleared, statement.behavior == pg.DROP_CASCADE


def unsupported(detail: str) -> Deny:
    return Deny(reason="sql.unsupported", detail=detail)


_FINDERS: dict[str, Any] = {
    "CreateStmt": _create_table,
    "IndexStmt": _create_index,
    "CreateSeqStmt": _create_sequence,
    "AlterSeqStmt": _alter_sequence,
    "CreateSchemaStmt": _create_schema,
    "CreateEnumStmt": _create_type,
    "CompositeTypeStmt": _create_type,
    "CreateDomainStmt": _create_domain,
    "CreatePolicyStmt": _policy,
    "AlterPolicyStmt": _policy,
    "CreateStatsStmt": _create_statistics,
    "AlterTableStmt": _alter_table,
    "RenameStmt": _rename,
    "AlterObjectSchemaStmt": _set_schema,
    "CommentStmt": _comment,
    "DropStmt": _drop,
    "TruncateStmt": _truncate,
    "GrantStmt": _grant,
    "AlterDefaultPrivilegesStmt": _default_grant,
}
