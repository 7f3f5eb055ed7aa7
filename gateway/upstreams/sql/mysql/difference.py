"""The way back of an ALTER TABLE, out of the server's own text of the table before and after.

What is computed here is only ever a proposal: it is tried on a table without rows, and stands when
the server's text is the same again. What this module does not understand has no way back by ALTER.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.upstreams.sql.mysql.literals import quoted

_HEAD = re.compile(r"CREATE (?:TEMPORARY )?TABLE `(?:[^`]|``)+` \(")
_COLUMN = re.compile(r"`((?:[^`]|``)+)` (.*)")
_KEY = re.compile(r"(?:UNIQUE |FULLTEXT |SPATIAL )?KEY `((?:[^`]|``)+)` .*")
_CONSTRAINT = re.compile(r"CONSTRAINT `((?:[^`]|``)+)` (FOREIGN KEY|CHECK) .*")
_TYPE = re.compile(
    r"(?:enum|set)\((?:'(?:[^']|'')*',?)+\)(?: CHARACTER SET \w+)?(?: COLLATE \w+)?"
    r"|(\w+)(?:\(([0-9,]+)\))?(?: unsigned| zerofill| CHARACTER SET \w+| COLLATE \w+)*"
)
_STRING = r"'(?:[^'\\]|''|\\.)*'"
_PLAIN_DEFAULT = re.compile(rf" DEFAULT (?:NULL|{_STRING}|-?[0-9.]+(?:e[-+]?[0-9]+)?)(?: |$)")
_COMMENT = re.compile(rf" COMMENT=({_STRING})")
_IGNORED = " IGNORED"
_WIDTHS = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}


@dataclass(slots=True)
class Parts:
    """A definition by its lines. ``tail``: the options of the table."""

    columns: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Back:
    """``clauses`` of an ALTER TABLE. ``fresh``: columns that it takes away and that hold what
    their definition says as long as nobody has written to them. ``lossless``: whether every value
    comes through both ways as it was; if not, the rows have to be kept."""

    clauses: tuple[str, ...]
    fresh: tuple[str, ...]
    lossless: bool


def bare(definition: str) -> str:
    """A definition without the table's name and its foreign keys, which copies do not have."""
    lines = _HEAD.sub("CREATE TABLE (", definition, count=1).split("\n")
    kept = [line.rstrip(",") for line in lines if not _foreign(line)]
    return "\n".join(kept)


def _foreign(line: str) -> bool:
    found = _CONSTRAINT.fullmatch(line.strip().rstrip(","))
    return found is not None and found[2] == "FOREIGN KEY"


def back(before: str, after: str, renamed: Mapping[str, str]) -> Back | None:
    """What turns ``after`` into ``before`` again, both ``bare``. ``renamed``: columns, new name to
    old. ``None`` where that is not understood."""
    old, new = parts(before), parts(after)
    if old is None or new is None:
        return None
    options = _options(old.tail, new.tail)
    if options is None:
        return Back((), (), lossless=False)
    known = {n: o for n, o in renamed.items() if n in new.columns and o in old.columns}
    origin = {n: known.get(n, n) for n in new.columns if known.get(n, n) in old.columns}
    fresh = [n for n in new.columns if n not in origin]
    kept = set(origin.values())
    lossless = all(
        (_generated(line) if name not in kept else True) for name, line in old.columns.items()
    ) and all(_same(old.columns[o], new.columns[n]) for n, o in origin.items())
    lossless = lossless and all(_fresh(new.columns[name]) for name in fresh)
    clauses = [
        *_keyed(old.keys, new.keys, "KEY"),
        *_columned(old.columns, new.columns, origin),
        *_checked(old.checks, new.checks),
        *options,
    ]
    holding = tuple(n for n in fresh if not _generated(new.columns[n]))
    return Back(tuple(clauses), holding, lossless)


def parts(definition: str) -> Parts | None:
    lines = definition.split("\n")
    found = Parts()
    for number, line in enumerate(lines[1:], start=1):
        if line.startswith(") "):
            found.tail = "\n".join(lines[number:])
            return found
        text = line.strip()
        column, key = _COLUMN.fullmatch(text), _KEY.fullmatch(text)
        constraint = _CONSTRAINT.fullmatch(text)
        if column is not None:
            found.columns[column[1].replace("``", "`")] = column[2]
        elif key is not None or text.startswith("PRIMARY KEY "):
            found.keys[key[1].replace("``", "`") if key is not None else ""] = text
        elif constraint is not None and constraint[2] == "CHECK":
            found.checks[constraint[1].replace("``", "`")] = text
        else:
            return None
    return None


def rekeyed(definition: str, keys: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Clauses beside those that add the foreign keys ``keys``, by name with their columns, or that
    drop them after they were added. The server makes the index of a foreign key anew, under its
    name and behind all others, also in the place of one of the same columns that it once made by
    itself; so such an index and what follows go and come again."""
    found = parts(bare(definition))
    indexes = [] if found is None else [(n, line) for n, line in found.keys.items() if n]
    spelled = {f" ({','.join(map(quoted, columns))})" for columns in keys.values()}
    first = next(
        (
            i
            for i, (name, line) in enumerate(indexes)
            if name in keys or any(columns in line for columns in spelled)
        ),
        len(indexes),
    )
    moved = indexes[first:]
    return (
        *(f"DROP KEY IF EXISTS {quoted(n)}" for n, _ in moved),
        *(f"ADD {line}" for _, line in moved),
    )


def _keyed(old: Mapping[str, str], new: Mapping[str, str], word: str) -> list[str]:
    """Indexes stand in the order in which they were made: all behind the first that differs go and
    come again. One that goes and comes stays as it is, ignored or not, so that is said apart."""
    was, now = ([(n, _seen(line)) for n, line in side.items()] for side in (old, new))
    same = _common(was, now)
    # The server sorts primary and unique indexes first, so those alike need not be made again.
    gone = [name for name, line in now[same:]]
    clauses = [f"DROP {word} {quoted(n)}" if n else "DROP PRIMARY KEY" for n in gone]
    clauses += [f"ADD {old[name]}" for name, _ in was[same:]]
    return clauses + [
        f"ALTER INDEX {quoted(name)} {'' if old[name].endswith(_IGNORED) else 'NOT'}{_IGNORED}"
        for name, _ in was[:same]
        if old[name] != new[name]
    ]


def _seen(line: str) -> str:
    return line.removesuffix(_IGNORED)


def _checked(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    was, now = list(old.items()), list(new.items())
    same = _common(was, now)
    clauses = [f"DROP CONSTRAINT {quoted(name)}" for name, _ in now[same:]]
    return clauses + [f"ADD {line}" for _, line in was[same:]]


def _common(was: Sequence[tuple[str, str]], now: Sequence[tuple[str, str]]) -> int:
    count = 0
    for one, other in zip(was, now, strict=False):
        if one != other:
            break
        count += 1
    return count


def _columned(
    old: Mapping[str, str], new: Mapping[str, str], origin: Mapping[str, str]
) -> list[str]:
    clauses = [f"DROP COLUMN {quoted(n)}" for n in new if n not in origin]
    names = {o: n for n, o in origin.items()}
    order = [o for o in old if o in names]
    moved = [origin[n] for n in new if n in origin] != order
    before: str | None = None
    for name, line in old.items():
        place = "FIRST" if before is None else f"AFTER {quoted(before)}"
        if name not in names:
            clauses.append(f"ADD COLUMN {quoted(name)} {line} {place}")
        elif moved or names[name] != name or new[names[name]] != line:
            clauses.append(f"CHANGE {quoted(names[name])} {quoted(name)} {line} {place}")
        before = name
    return clauses


def _options(was: str, now: str) -> list[str] | None:
    """Only the comment may differ."""
    if was == now:
        return []
    if _COMMENT.sub("", was) != _COMMENT.sub("", now):
        return None
    found = _COMMENT.search(was)
    return [f"COMMENT={found[1] if found else repr('')}"]


def _same(was: str, now: str) -> bool:
    """Whether every value of the old column comes through, and back."""
    if _generated(was) or _generated(now):
        return _generated(was) and _generated(now)
    if " NOT NULL" in now and " NOT NULL" not in was:
        return False
    if " AUTO_INCREMENT" in now and " AUTO_INCREMENT" not in was:
        return False
    one, other = _TYPE.match(was), _TYPE.match(now)
    if one is None or other is None:
        return False
    return one[0] == other[0] or _wider(one, other)


def _wider(was: re.Match[str], now: re.Match[str]) -> bool:
    if was[1] is None or now[1] is None or "zerofill" in was[0] + now[0]:
        return False
    rest = [m[0][len(m[1]) :].replace(f"({m[2]})", "") for m in (was, now)]
    if rest[0] != rest[1]:
        return False
    if was[1] == now[1] == "varchar":
        return int(now[2]) >= int(was[2])
    return _WIDTHS.get(now[1], 0) >= _WIDTHS.get(was[1], 9)


def _fresh(line: str) -> bool:
    """Whether a new column can be told apart from one that somebody wrote to."""
    if _generated(line):
        return True
    if " AUTO_INCREMENT" in line or " ON UPDATE " in line:
        return False
    return _PLAIN_DEFAULT.search(line) is not None


def _generated(line: str) -> bool:
    return " GENERATED ALWAYS AS " in line
