"""The statements that give objects the privileges of another shape, in the order in which that has
them: what a dump says of them depends on it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from psycopg.sql import Identifier

from gateway.model import Json
from gateway.upstreams.sql.postgres.ddl.shape import Shape
from gateway.upstreams.sql.postgres.ddl.sides import Part

_WORDS = {
    "r": "SELECT",
    "a": "INSERT",
    "w": "UPDATE",
    "d": "DELETE",
    "D": "TRUNCATE",
    "x": "REFERENCES",
    "t": "TRIGGER",
    "m": "MAINTAIN",
    "U": "USAGE",
    "C": "CREATE",
    "X": "EXECUTE",
}
_ITEM = re.compile(r'("(?:[^"]|"")*"|[^=]*)=([a-zA-Z*]*)/("(?:[^"]|"")*"|.*)', re.DOTALL)
_ROUTINES = {"p": "PROCEDURE"}  # GRANT takes aggregates for functions
_DEFAULTS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS"}


@dataclass(frozen=True, slots=True)
class Item:
    """What ``grantor`` gave to ``grantee``, the empty name for PUBLIC. Letters, each with a star
    after it where it may be given on."""

    grantee: str
    letters: str
    grantor: str

    def granted(self) -> list[tuple[str, str]]:
        """Privileges as words, with what follows the grantee."""
        plain = [x for x in re.findall(r"[a-zA-Z]\*?", self.letters) if not x.endswith("*")]
        starred = [x for x in re.findall(r"[a-zA-Z]\*?", self.letters) if x.endswith("*")]
        return [
            (", ".join(_WORDS[x[0]] for x in some), option)
            for some, option in ((plain, ""), (starred, " WITH GRANT OPTION"))
            if some
        ]


def items(acl: Json) -> list[Item] | None:
    """``None`` for the privileges that an object has where nobody said anything."""
    if acl is None:
        return None
    found = [_ITEM.fullmatch(str(text)) for text in acl]
    return [Item(_plain(m[1]), m[2], _plain(m[3])) for m in found if m is not None]


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


@dataclass(frozen=True, slots=True)
class _Thing:
    """``on``: as GRANT names it; ``public``: whether everybody has it unless said otherwise.
    ``words`` puts a privilege into the form of the thing."""

    on: str
    owner: str
    public: bool = False
    words: Callable[[str], str] = str
    before: str = ""

    def nearer(self, now: Json, goal: Json) -> list[str]:
        here, there = self._items(now), self._items(goal)
        same = 0
        while same < min(len(here), len(there)) and here[same] == there[same]:
            same += 1
        if any(item.grantor != self.owner for item in (*here[same:], *there[same:])):
            return []  # only who gave it can take it back and give it again
        found = [
            f"{self.before}REVOKE {self.words('ALL')} ON {self.on} FROM {_role(item.grantee)}"
            for item in here[same:]
        ]
        for item in there[same:]:
            given = [("ALL", "")] if item.letters == "" else item.granted()
            found += [
                f"{self.before}GRANT {self.words(what)} ON {self.on} TO {_role(item.grantee)}{how}"
                for what, how in given
            ]
        return found

    def _items(self, acl: Json) -> list[Item]:
        found = items(acl)
        if found is not None:
            return found
        everybody = [Item("", "", self.owner)] if self.public else []
        return [*everybody, Item(self.owner, "", self.owner)]


def nearer(now: Shape, goal: Shape) -> list[str]:
    """Statements for the privileges of the first kind of object that has others."""
    kinds = (_relations, _columns, _routines, _types, _schemas, _defaults)
    for kind in kinds:
        found = kind(now, goal)
        if found:
            return found
    return []


def _changed(now: Shape, goal: Shape, first: str, acl: str) -> list[tuple[str, Part, Part]]:
    return [
        (key, part, goal[key])
        for key, part in now.items()
        if key.startswith(first) and key in goal and part.get(acl) != goal[key].get(acl)
    ]


def _relations(now: Shape, goal: Shape) -> list[str]:
    found: list[str] = []
    for key, part, wanted in _changed(now, goal, "relation ", "relacl"):
        if key.endswith(" itself"):
            word = "SEQUENCE" if part["relkind"] == "S" else "TABLE"
            thing = _Thing(f"{word} {_named(part['schema'], part['relname'])}", part["owner"])
            found += thing.nearer(part["relacl"], wanted["relacl"])
    return found


def _columns(now: Shape, goal: Shape) -> list[str]:
    found: list[str] = []
    for key, part, wanted in _changed(now, goal, "relation ", "attacl"):
        whole = now[" ".join([*key.split(" ", 2)[:2], "itself"])]
        column = Identifier(str(part["attname"])).as_string()

        def words(privileges: str, column: str = column) -> str:
            return ", ".join(f"{word} ({column})" for word in privileges.split(", "))

        thing = _Thing(_named(whole["schema"], whole["relname"]), whole["owner"], words=words)
        found += thing.nearer(part["attacl"] or [], wanted["attacl"] or [])
    return found


def _routines(now: Shape, goal: Shape) -> list[str]:
    found: list[str] = []
    for _, part, wanted in _changed(now, goal, "function ", "acl"):
        word = _ROUTINES.get(str(part["kind"]), "FUNCTION")
        on = f"{word} {_named(part['schema'], part['name'])}({part['arguments']})"
        found += _Thing(on, part["owner"], public=True).nearer(part["acl"], wanted["acl"])
    return found


def _types(now: Shape, goal: Shape) -> list[str]:
    found: list[str] = []
    for _, part, wanted in _changed(now, goal, "type ", "acl"):
        thing = _Thing(f"TYPE {_named(part['schema'], part['name'])}", part["owner"], public=True)
        found += thing.nearer(part["acl"], wanted["acl"])
    return found


def _schemas(now: Shape, goal: Shape) -> list[str]:
    found: list[str] = []
    for _, part, wanted in _changed(now, goal, "schema ", "acl"):
        thing = _Thing(f"SCHEMA {Identifier(str(part['name'])).as_string()}", part["owner"])
        found += thing.nearer(part["acl"], wanted["acl"])
    return found


def _defaults(now: Shape, goal: Shape) -> list[str]:
    """A role's default privileges: what is not there is as if nobody had said anything."""
    found: list[str] = []
    for key in sorted(k for k in {**now, **goal} if k.startswith("default ")):
        here, there = now.get(key), goal.get(key)
        known = here or there
        if here == there or known is None:
            continue
        inside = f" IN SCHEMA {_role(known['schema'])}" if known["schema"] is not None else ""
        thing = _Thing(
            _DEFAULTS[known["kind"]],
            known["role"],
            public=known["kind"] in "fT",
            before=f"ALTER DEFAULT PRIVILEGES FOR ROLE {_role(known['role'])}{inside} ",
        )
        none: Json = [] if known["schema"] is not None else None
        found += thing.nearer(here["acl"] if here else none, there["acl"] if there else none)
    return found


def _named(schema: Json, name: Json) -> str:
    return Identifier(str(schema), str(name)).as_string()


def _role(name: str) -> str:
    return Identifier(name).as_string() if name else "PUBLIC"
