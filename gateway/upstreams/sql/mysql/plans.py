"""What a change of the schema will do, and how it is taken back, before any of it is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pymysql

from gateway.errors import UpstreamError
from gateway.model import Measured, RowCounts
from gateway.upstreams.sql.mysql import alteration, catalog, rows
from gateway.upstreams.sql.mysql.alteration import Alteration, of_key, tried
from gateway.upstreams.sql.mysql.catalog import ForeignKey, Name, Relation
from gateway.upstreams.sql.mysql.definitions import Definition
from gateway.upstreams.sql.mysql.difference import rekeyed
from gateway.upstreams.sql.mysql.literals import quoted
from gateway.upstreams.sql.mysql.moves import Move, aside, marked
from gateway.upstreams.sql.mysql.orphans import broken
from gateway.upstreams.sql.mysql.rights import keys_hidden
from gateway.upstreams.sql.mysql.session import Session

_SHARE_FROM = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``statements``: the last one is the effect, those before it prepare; with a ``lock`` on
    tables, those ``within`` it are the effect, and ``copied`` says which two have to be the same
    before the last of them. ``clean``: a query that has to find nothing then. ``back``: the way
    back; ``None`` where nothing is to be done. ``guard``: a table that has to be empty afterwards,
    or to have the checksum ``guard_sum``, or everything goes ``back`` at once. ``sums``: the table
    whose checksum is kept with the receipt. ``counts``: the effect is the agent's own statement,
    of whose rows the server tells."""

    statements: tuple[str, ...] = ()
    lock: tuple[Name, ...] = ()
    within: tuple[str, ...] = ()
    copied: tuple[Name, Name] | None = None
    clean: str | None = None
    receipt: str = ""
    back: Move | Alteration | None = None
    guard: Name | None = None
    guard_sum: int | None = None
    sums: Name | None = None
    counts: bool = False

    @property
    def empty(self) -> bool:
        return not self.statements and not self.within


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A statement that changes the schema: what it says, of which tables, and its text as it is
    sent. ``call``: whose it is."""

    call: str
    definition: Definition
    target: Name
    to: Name | None
    text: str


def plan(own: Session, peer: Session, wish: Wish) -> tuple[Plan, Measured]:
    """Changes nothing. ``peer``: a session of the gateway's account, which is shown every trigger
    and every foreign key. Raises ``UpstreamError`` for what has no exact way back."""
    definition, target = wish.definition, wish.target
    found = catalog.relations(own, [target]).get(target)
    if not peer.variety.rekeys:
        _unrelated(peer, wish, there=found is not None)
    if definition.verb == "create":
        if found is None:
            return _creating(wish), Measured()
        if not definition.lenient:
            raise UpstreamError(f"{dotted(target)} exists already.", code=1050, sqlstate="42S01")
        return Plan(), Measured()
    if found is None:
        if definition.lenient:
            return Plan(), Measured()
        raise UpstreamError(f"{dotted(target)} does not exist.", code=1146, sqlstate="42S02")
    if found.kind == "VIEW" and definition.verb == "alter" and definition.to is not None:
        return _renaming(own, wish, triggers=False), Measured()
    if definition.view or found.kind == "VIEW":
        return _viewed(wish, found), Measured()
    if found.kind != "BASE TABLE" or found.engine != "InnoDB":
        raise _no_way(f"{dotted(target)} is not an InnoDB table.")
    return _tabled(own, peer, wish, found)


def _unrelated(peer: Session, wish: Wish, *, there: bool) -> None:
    """Raises ``UpstreamError`` for a change that foreign keys have to do with, or CHECKs, which a
    copy to try it on has under other names."""
    words = set(re.findall(r"\w+", wish.text.lower()))
    if "fts_doc_id" in words:
        # MySQL 9.7.4 loses the whole table when such a column, being virtual, is dropped.
        raise _no_way("A column FTS_DOC_ID belongs to the server's full-text indexes.")
    spoken = not words.isdisjoint(_OF_KEYS)
    tables = [name for name in (wish.target, wish.to) if name is not None]
    if spoken or keys_hidden(peer) or catalog.foreign_keys(peer, tables):
        raise _no_way(
            f"{peer.variety.name} does not bring foreign keys and their indexes back as they were: "
            "tables that have any, or that others refer to, keep their schema."
        )
    copied = wish.definition.verb in ("alter", "truncate") and wish.to is None
    if there and copied and " CHECK (" in catalog.definition(peer, wish.target):
        raise _no_way(
            f"{dotted(wish.target)} has a CHECK, which a copy of it has under another name."
        )


_OF_KEYS = frozenset({"foreign", "references"})


def _viewed(wish: Wish, found: Relation) -> Plan:
    if found.kind == "VIEW" and wish.definition.view:
        return _hiding(wish)
    if wish.definition.view:
        detail, code, state = "is not a view.", 1347, "HY000"
    elif wish.definition.verb == "alter":
        detail, code, state = "is a view.", 1347, "HY000"
    else:
        detail, code, state = "is a view.", 1965, "42S02"
    raise UpstreamError(f"{dotted(wish.target)} {detail}", code=code, sqlstate=state)


def _tabled(own: Session, peer: Session, wish: Wish, found: Relation) -> tuple[Plan, Measured]:
    definition, target = wish.definition, wish.target
    keys = catalog.foreign_keys(peer, [target])
    events = {t.event for t in catalog.triggers(peer, [target])}
    if definition.verb == "alter":
        if definition.to is not None:
            return _renaming(own, wish, triggers=bool(events)), Measured()
        return _altering(own, peer, wish, found, keys, triggers=bool(events))
    _unreferenced(target, keys, definition.verb)
    if definition.verb == "drop":
        _unbroken(peer, [key for key in keys if key.child == target != key.parent])
        text = catalog.definition(peer, target)
        made = _dropping(target, wish.call, keys, text, triggers=bool(events))
    else:
        made = _emptying(target, wish.call, keys, triggers=bool(events))
    return made, _extent(own, target)


def _renaming(session: Session, wish: Wish, *, triggers: bool) -> Plan:
    target, to = wish.target, wish.to
    assert to is not None
    if to[0] != target[0]:
        raise _no_way("A table that moves to another schema may lose what belongs to it there.")
    if catalog.relations(session, [to]):
        raise UpstreamError(f"{dotted(to)} exists already.", code=1050, sqlstate="42S01")
    if triggers:
        raise _no_way(f"{dotted(target)} has triggers, which may name it.")
    move = marked(Move(renames=((target, to),), trace=to, present=True), wish.call)
    mark = f"CREATE TABLE {quoted(*aside(wish.call, 'm'))} (x INT PRIMARY KEY) ENGINE=InnoDB"
    return Plan(statements=(mark, move.sql()), receipt=move.receipt(wish.call), back=move.inverse())


def _creating(wish: Wish) -> Plan:
    target, kept = wish.target, aside(wish.call)
    if wish.definition.view:
        kept = _beside(target, wish.call)
        back = Move(renames=((target, kept),), trace=kept, present=True)
    elif wish.definition.query is not None:
        back = Move(renames=((target, kept),), trace=kept, present=True, empty=target,
                    sums=wish.call)  # fmt: skip
    else:
        back = Move(renames=((target, kept),), trace=kept, present=True, empty=target)
    return Plan(
        statements=(wish.text,),
        receipt=f"{wish.call}|?{target[0]}|{target[1]}",
        back=back,
        sums=target if back.sums else None,
        counts=True,
    )


def _hiding(wish: Wish) -> Plan:
    """A view cannot leave its schema."""
    kept = _beside(wish.target, wish.call)
    move = Move(renames=((wish.target, kept),), trace=kept, present=True)
    return Plan(statements=(move.sql(),), receipt=move.receipt(wish.call), back=move.inverse())


def _beside(target: Name, call: str) -> Name:
    kept = aside(call)
    return target[0], f"{kept[0]}_{kept[1]}"


def _dropping(
    target: Name, call: str, keys: Sequence[ForeignKey], text: str, *, triggers: bool
) -> Plan:
    kept = aside(call)
    if triggers:
        kept = _beside(target, call)  # triggers do not leave their schema
    # One that refers to its own table goes along.
    leaving = tuple(key for key in keys if key.child == target != key.parent)
    rekeys = rekeyed(text, {key.name: key.columns for key in leaving})
    move = Move(renames=((target, kept),), trace=kept, present=True, drops=leaving, rekeys=rekeys)
    return Plan(statements=(move.sql(),), receipt=move.receipt(call), back=move.inverse())


def _emptying(target: Name, call: str, keys: Sequence[ForeignKey], *, triggers: bool) -> Plan:
    if triggers or any(key.child == target for key in keys):
        raise _no_way(f"{dotted(target)} has triggers or foreign keys, which an empty copy of it "
                      "would not have. DELETE FROM it is undone exactly.")  # fmt: skip
    fresh, kept = aside(call, "n"), aside(call)
    move = Move(renames=((target, kept), (fresh, target)), trace=kept, present=True)
    made = f"CREATE TABLE {quoted(*fresh)} LIKE {quoted(*target)}"
    return Plan(
        statements=(made, move.sql()), receipt=move.receipt(call), back=move.inverse(empty=target)
    )


def _altering(
    own: Session,
    peer: Session,
    wish: Wish,
    found: Relation,
    keys: list[ForeignKey],
    *,
    triggers: bool,
) -> tuple[Plan, Measured]:
    target, definition = wish.target, wish.definition
    if definition.key is not None:
        name = definition.key.name.lower()
        gone = [k for k in keys if k.child == target and k.name.lower() == name]
        _unbroken(peer, gone if definition.key.dropped else [])
        change = of_key(peer, target, definition, wish.text, keys)
        if change is None:
            raise UpstreamError(
                f"{dotted(target)} has no foreign key {definition.key.name}.",
                code=1091,
                sqlstate="42000",
            )
        return _in_place(wish, change), Measured()
    trial = tried(peer, wish.call, found, definition, wish.text)
    if not trial.alike:
        raise _no_way(f"{dotted(target)} has something in its definition that a copy of it has "
                      "not.")  # fmt: skip
    if trial.back == ():
        return Plan(), Measured()
    if trial.back is not None:
        change = Alteration(
            table=target,
            forward=alteration.renamed(definition, wish.text, target),
            backward=f"ALTER TABLE {quoted(*target)} {', '.join(trial.back)}",
            before=trial.before,
            after=trial.after,
            fresh=trial.fresh,
        )
        return _in_place(wish, change), Measured()
    if triggers or any(target in (key.child, key.parent) for key in keys):
        raise _no_way(f"This changes values of {dotted(target)}, so that a copy of it has to be "
                      "kept, and copies have no triggers and no foreign keys.")  # fmt: skip
    _lockable(own, target)
    return _beside_a_copy(peer, wish, trial.before, trial.after), _extent(own, target)


def _in_place(wish: Wish, change: Alteration) -> Plan:
    return Plan(
        statements=(wish.text,), receipt=change.receipt(wish.call), back=change, counts=True
    )


def _beside_a_copy(peer: Session, wish: Wish, before: str, after: str) -> Plan:
    """The rows are copied and the table is altered while nobody else can write to it. Taken back,
    the copy takes its place."""
    target, kept = wish.target, aside(wish.call)
    table = catalog.tables(peer, [target])[target]
    columns = ", ".join(quoted(c.name) for c in rows.stored(table))
    fresh = aside(wish.call, "n")
    back = Move(renames=((target, fresh), (kept, target)), trace=kept, present=False,
                empty=target, sums=wish.call)  # fmt: skip
    return Plan(
        statements=(f"CREATE TABLE {quoted(*kept)} LIKE {quoted(*target)}",),
        lock=(target, kept),
        within=(
            f"INSERT INTO {quoted(*kept)} ({columns}) SELECT {columns} FROM {quoted(*target)}",
            wish.text,
        ),
        copied=(target, kept),
        receipt=f"{wish.call}|={target[0]}|{target[1]}|{before}|{after}",
        back=back,
        sums=target,
        counts=True,
    )


def _lockable(session: Session, target: Name) -> None:
    try:
        session.run(f"LOCK TABLES {quoted(*target)} READ")
    except pymysql.Error as error:
        raise _no_way(
            "This has to be done while nobody else can write, for which agents' account needs "
            f"LOCK TABLES on {target[0]}.* and on holdfast.*."
        ) from error
    session.run("UNLOCK TABLES")


def _unreferenced(target: Name, keys: Sequence[ForeignKey], verb: str) -> None:
    for key in keys:
        if key.parent == target and key.child != target:
            raise UpstreamError(
                f"{dotted(target)} is referenced by {dotted(key.child)} ({key.name}); the server "
                "would refuse this as well.",
                code=1451 if verb == "drop" else 1701,
                sqlstate="23000" if verb == "drop" else "42000",
            )


def _unbroken(session: Session, keys: Sequence[ForeignKey]) -> None:
    for key in keys:
        if broken(session, key):
            raise _no_way(
                f"The foreign key {key.name} of {dotted(key.child)} does not hold now: its rows "
                f"refer to what is not in {dotted(key.parent)}. Once it is gone it could not be "
                "added again."
            )


def _extent(session: Session, target: Name) -> Measured:
    count = int(session.rows(f"SELECT COUNT(*) FROM {quoted(*target)}")[0][0] or 0)
    share = 1.0 if count > _SHARE_FROM else 0.0
    return Measured(tables={dotted(target): RowCounts(deleted=count)}, share=share)


def dotted(name: Name) -> str:
    return ".".join(name)


def _no_way(detail: str) -> UpstreamError:
    return UpstreamError(detail, reason="undo.unavailable")
