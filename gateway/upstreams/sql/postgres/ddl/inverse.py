"""The statements that bring objects from one shape nearer to another. Given one kind of difference
at a time, for the caller to carry out and look again: a renamed column changes how indexes and
constraints read, so what is left can only be told afterwards."""

from __future__ import annotations

from collections.abc import Callable

from psycopg.sql import Identifier, Literal

from gateway.model import Json
from gateway.upstreams.sql.postgres.ddl import privileges
from gateway.upstreams.sql.postgres.ddl.shape import Shape
from gateway.upstreams.sql.postgres.ddl.sides import Part, Sides, everything, pairs

_ENABLED = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS", "O": "ENABLE"}
_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
_IDENTITY = {"a": "ALWAYS", "d": "BY DEFAULT"}
_COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
# What of a part cannot be altered, so that it is made anew.
_MAKING = {
    "constraint": ("def", "checked"),
    "policy": ("for", "permissive", "roles", "using", "check"),
}


def nearer(now: Shape, goal: Shape) -> list[str]:
    """Statements for the first kind of difference there is; none when the shapes are equal or the
    difference is of a kind that no statement is known for."""
    tables = list(pairs(now, goal))
    names = {t.oid: t.name for t in everything(now)}
    for step in _STEPS:
        found = [statement for table in tables for statement in step(table)]
        if found:
            return found
    parents = [statement for table in tables for statement in _parents(table, names)]
    return parents or privileges.nearer(now, goal)


# --- names ----------------------------------------------------------------------------------


def _moved(t: Sides) -> list[str]:
    follows = any(part["owned"] for part in t.now.get("sequence", {}).values())
    if t.own["schema"] != t.wanted["schema"] and not follows:
        return [f"ALTER {t.kind} {t.name} SET SCHEMA {_q(t.wanted['schema'])}"]
    if t.own["relname"] != t.wanted["relname"]:
        return [f"ALTER {t.kind} {t.name} RENAME TO {_q(t.wanted['relname'])}"]
    return []


def _renamed(t: Sides) -> list[str]:
    """The same thing under another name; columns first, as others are told by them."""
    for kind, word in (("column", "COLUMN"), ("constraint", "CONSTRAINT")):
        found = [
            f"ALTER TABLE {t.name} RENAME {word} {_q(name)} TO {_q(other)}"
            for name, part in t.surplus(kind).items()
            for other, wanted in t.missing(kind).items()
            if not _inherited(part) and _nameless(part) == _nameless(wanted)
        ]
        if found:
            return found
    schema = t.own["schema"]
    return [
        f"ALTER INDEX {Identifier(schema, name).as_string()} RENAME TO {_q(other)}"
        for name, part in t.surplus("index").items()
        for other, wanted in t.missing("index").items()
        if not part["constraint"]
        and str(part["def"]).replace(f" {_q2(name)} ON ", " ", 1)
        == str(wanted["def"]).replace(f" {_q2(other)} ON ", " ", 1)
    ]


def _nameless(part: Part) -> Part:
    return {k: v for k, v in part.items() if k != "attname"}


def _inherited(part: Part) -> bool:
    return bool(part.get("attinhcount") or part.get("inherited") or part.get("parent"))


# --- what should not be there ---------------------------------------------------------------


def _gone(t: Sides) -> list[str]:
    found: list[str] = []
    for name, part in [*t.surplus("constraint").items(), *_remade(t, "constraint")]:
        if not _inherited(part) and part["type"] != "n" and not _with_column(t, part):
            order = 0 if part["type"] == "f" else len(found)
            found.insert(order, f"ALTER TABLE {t.name} DROP CONSTRAINT {_q(name)}")
    for name, part in [*t.surplus("index").items(), *_remade(t, "index")]:
        if not part["constraint"] and part["parent"] is None:
            found.append(f"DROP INDEX {Identifier(t.own['schema'], name).as_string()}")
    for kind in ("trigger", "rule", "policy"):
        other = dict(_remade(t, kind)) if kind == "policy" else {}
        found += [
            f"DROP {kind.upper()} {_q(name)} ON {t.name}" for name in {**t.surplus(kind), **other}
        ]
    return found + [
        f"DROP STATISTICS {part['schema']}.{_q(name)}"
        for name, part in t.surplus("statistics").items()
    ]


def _with_column(t: Sides, part: Part) -> bool:
    """A constraint of columns that go anyway."""
    return (
        part["type"] in "pu"
        and all(f"({_q2(name)})" in str(part["def"]) for name in t.surplus("column"))
        and len(t.surplus("column")) == 1
    )


def _remade(t: Sides, kind: str) -> list[tuple[str, Part]]:
    """What has to be made anew, since its definition is another."""
    keys = _MAKING.get(kind, ("def",))
    return [
        (name, part)
        for name, part, wanted in t.changed(kind)
        if any(part[key] != wanted[key] for key in keys)
    ]


# --- columns --------------------------------------------------------------------------------


def _columns_gone(t: Sides) -> list[str]:
    return [
        f"ALTER TABLE {t.name} DROP COLUMN {_q(name)}"
        for name, part in t.surplus("column").items()
        if not _inherited(part) and t.kind == "TABLE"
    ]


def _columns_added(t: Sides) -> list[str]:
    found = []
    for name, part in sorted(t.missing("column").items(), key=lambda c: c[1].get("place", 0)):
        if _inherited(part) or t.kind != "TABLE":
            continue
        text = f"ALTER TABLE {t.name} ADD COLUMN {_q(name)} {part['type']}{_collate(part)}"
        if part["attgenerated"]:
            how = "STORED" if part["attgenerated"] == "s" else "VIRTUAL"
            text += f" GENERATED ALWAYS AS ({part['default']}) {how}"
        elif part["default"] is not None and (part["attnotnull"] or "(" not in part["default"]):
            text += f" DEFAULT {part['default']}"  # for rows that came in meanwhile
        found.append(text)
    return found


def _collate(part: Part) -> str:
    return f" COLLATE {part['collation']}" if part["collation"] else ""


def _types(t: Sides) -> list[str]:
    found = []
    for name, part, wanted in t.changed("column"):
        if part["type"] == wanted["type"] and part["collation"] == wanted["collation"]:
            continue
        if _inherited(part) or t.kind != "TABLE":
            continue
        column, default = _q(name), part["default"] is not None
        if default and not part["attgenerated"]:
            found.append(f"ALTER TABLE {t.name} ALTER COLUMN {column} DROP DEFAULT")
        found.append(
            f"ALTER TABLE {t.name} ALTER COLUMN {column} TYPE {wanted['type']}{_collate(wanted)} "
            f"USING {column}::{wanted['type']}"
        )
    return found


def _column_settings(t: Sides) -> list[str]:
    found = []
    for name, part, wanted in t.changed("column"):
        if t.kind != "TABLE" and t.kind != "VIEW":
            continue
        alter = f"ALTER {t.kind} {t.name} ALTER COLUMN {_q(name)}"
        found += [f"{alter} {change}" for change in _column_changes(part, wanted)]
    return found


def _column_changes(part: Part, wanted: Part) -> list[str]:
    found = []
    if part["attidentity"] != wanted["attidentity"]:
        if not wanted["attidentity"]:
            found.append("DROP IDENTITY")
        elif part["attidentity"]:
            found.append(f"SET GENERATED {_IDENTITY[wanted['attidentity']]}")
    if part["default"] != wanted["default"] and not wanted["attgenerated"]:
        if wanted["default"] is not None:
            found.append(f"SET DEFAULT {wanted['default']}")
        else:
            found.append("DROP EXPRESSION" if part["attgenerated"] else "DROP DEFAULT")
    if part["attnotnull"] != wanted["attnotnull"]:
        found.append("SET NOT NULL" if wanted["attnotnull"] else "DROP NOT NULL")
    if part["attstorage"] != wanted["attstorage"]:
        found.append(f"SET STORAGE {_STORAGE[wanted['attstorage']]}")
    if part["attstattarget"] != wanted["attstattarget"]:
        target = wanted["attstattarget"]
        found.append(f"SET STATISTICS {-1 if target is None else target}")
    if part.get("attcompression") != wanted.get("attcompression"):
        methods = {"p": "pglz", "l": "lz4"}
        found.append(f"SET COMPRESSION {methods.get(str(wanted['attcompression']), 'DEFAULT')}")
    found += _options(part["attoptions"], wanted["attoptions"])
    return found


def _options(now: Json, wanted: Json) -> list[str]:
    """They stand in the order in which they were set, so all of them go and come again."""
    here, there = (list(options or ()) for options in (now, wanted))
    if here == there:
        return []
    found = []
    if here:
        found.append(f"RESET ({', '.join(option.split('=', 1)[0] for option in here)})")
    if there:
        pairs = (option.split("=", 1) for option in there)
        found.append(f"SET ({', '.join(f'{name} = {_text(value)}' for name, value in pairs)})")
    return found


# --- what is missing ------------------------------------------------------------------------


def _made(t: Sides) -> list[str]:
    found: list[str] = []
    for part in t.missing("index").values():
        if not part["constraint"] and part["parent"] is None:
            found.append(str(part["def"]).replace(" ON ONLY ", " ON ", 1))
    keys = sorted(t.missing("constraint").items(), key=lambda c: "pucxf".find(c[1]["type"]))
    for name, part in keys:
        if not _inherited(part) and part["type"] != "n":
            found.append(f"ALTER TABLE {t.name} ADD CONSTRAINT {_q(name)} {part['def']}")
    for kind in ("trigger", "rule"):
        found += [str(part["def"]).rstrip(";") for part in t.missing(kind).values()]
    for name, part in t.missing("policy").items():
        found.append(f"CREATE POLICY {_q(name)} ON {t.name} {_policy(part)}")
    for name, part in t.missing("statistics").items():
        found.append(str(part["def"]))
        changes = [f"OWNER TO {_q(part['owner'])}"]
        if part["target"] not in (None, -1):
            changes.append(f"SET STATISTICS {part['target']}")
        found += [f"ALTER STATISTICS {part['schema']}.{_q(name)} {change}" for change in changes]
    return found


def _policy(part: Part) -> str:
    using = f" USING ({part['using']})" if part["using"] is not None else ""
    check = f" WITH CHECK ({part['check']})" if part["check"] is not None else ""
    how = "PERMISSIVE" if part["permissive"] else "RESTRICTIVE"
    return f"AS {how} FOR {_COMMANDS[str(part['for'])]} TO {part['roles']}{using}{check}"


# --- the whole ------------------------------------------------------------------------------


def _whole(t: Sides) -> list[str]:
    own, wanted, alter = t.own, t.wanted, f"ALTER {t.kind} {t.name}"
    here, there = (
        [*(side["reloptions"] or ()), *(f"toast.{option}" for option in side.get("toast") or ())]
        for side in (own, wanted)
    )
    found = [f"{alter} {change}" for change in _options(here, there)]
    if own["relrowsecurity"] != wanted["relrowsecurity"]:
        found.append(
            f"{alter} {'ENABLE' if wanted['relrowsecurity'] else 'DISABLE'} ROW LEVEL SECURITY"
        )
    if own["relforcerowsecurity"] != wanted["relforcerowsecurity"]:
        force = "FORCE" if wanted["relforcerowsecurity"] else "NO FORCE"
        found.append(f"{alter} {force} ROW LEVEL SECURITY")
    if own["relpersistence"] != wanted["relpersistence"]:
        found.append(f"{alter} SET {'LOGGED' if wanted['relpersistence'] == 'p' else 'UNLOGGED'}")
    if own["relreplident"] != wanted["relreplident"] and wanted["relreplident"] in "dnf":
        words = {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}
        found.append(f"{alter} REPLICA IDENTITY {words[wanted['relreplident']]}")
    if own["view"] != wanted["view"] and t.kind == "VIEW":
        found.append(f"CREATE OR REPLACE VIEW {t.name} AS {str(wanted['view']).rstrip(';')}")
    return found


def _marks(t: Sides) -> list[str]:
    found = []
    for name, part, wanted in t.changed("index"):
        index = Identifier(t.own["schema"], name).as_string()
        if part["clustered"] != wanted["clustered"]:
            found.append(
                f"ALTER TABLE {t.name} CLUSTER ON {_q(name)}"
                if wanted["clustered"]
                else f"ALTER TABLE {t.name} SET WITHOUT CLUSTER"
            )
        if wanted["identity"] and not part["identity"]:
            found.append(f"ALTER TABLE {t.name} REPLICA IDENTITY USING INDEX {_q(name)}")
        options = _options(part["reloptions"], wanted["reloptions"])
        found += [f"ALTER INDEX {index} {change}" for change in options]
    for kind in ("trigger", "rule"):
        for name, part, wanted in t.changed(kind):
            if part["enabled"] != wanted["enabled"]:
                enabled = _ENABLED[wanted["enabled"]]
                found.append(f"ALTER TABLE {t.name} {enabled} {kind.upper()} {_q(name)}")
    return found


def _parents(t: Sides, names: dict[str, str]) -> list[str]:
    """Partitions, last of all: attaching looks for indexes and keys that fit."""
    here, there = (str(own["parents"] or "").split() for own in (t.own, t.wanted))
    gone = [oid for oid in here if oid not in there and oid in names]
    new = [oid for oid in there if oid not in here and oid in names]
    leave, join = (
        "ALTER TABLE {0} DETACH PARTITION {1}" if t.own["relispartition"] else
        "ALTER TABLE {1} NO INHERIT {0}",
        "ALTER TABLE {0} ATTACH PARTITION {1} {2}" if t.wanted["relispartition"] else
        "ALTER TABLE {1} INHERIT {0}",
    )  # fmt: skip
    return [leave.format(names[oid], t.name) for oid in gone] + [
        join.format(names[oid], t.name, t.wanted["bound"]) for oid in new
    ]


def _sequence(t: Sides) -> list[str]:
    found = []
    for _, part, wanted in t.changed("sequence"):
        if part["owned"] == wanted["owned"]:
            found.append(
                f"ALTER SEQUENCE {t.name} AS {wanted['type']} INCREMENT BY "
                f"{wanted['seqincrement']} "
                f"MINVALUE {wanted['seqmin']} MAXVALUE {wanted['seqmax']} "
                f"START WITH {wanted['seqstart']} CACHE {wanted['seqcache']} "
                f"{'' if wanted['seqcycle'] else 'NO '}CYCLE"
            )
    return found


def _comments(t: Sides) -> list[str]:
    found = []
    if t.own["comment"] != t.wanted["comment"]:
        found.append(f"COMMENT ON {t.kind} {t.name} IS {_text(t.wanted['comment'])}")
    for kind in ("column", "constraint", "index", "trigger", "rule", "policy"):
        for name, part, wanted in t.changed(kind):
            if part["comment"] != wanted["comment"]:
                of = {
                    "column": f"COLUMN {t.name}.{_q(name)}",
                    "index": f"INDEX {Identifier(t.own['schema'], name).as_string()}",
                }.get(kind, f"{kind.upper()} {_q(name)} ON {t.name}")
                found.append(f"COMMENT ON {of} IS {_text(wanted['comment'])}")
    return found


def _q(name: Json) -> str:
    return Identifier(str(name)).as_string()


def _q2(name: str) -> str:
    """As the server quotes: only where it must."""
    plain = name.isascii() and name.isidentifier() and name == name.lower()
    return name if plain else _q(name)


def _text(value: Json) -> str:
    return "NULL" if value is None else Literal(str(value)).as_string()


_STEPS: tuple[Callable[[Sides], list[str]], ...] = (
    _moved,
    _renamed,
    _gone,
    _columns_gone,
    _types,
    _columns_added,
    _column_settings,
    _made,
    _whole,
    _marks,
    _sequence,
    _comments,
)
