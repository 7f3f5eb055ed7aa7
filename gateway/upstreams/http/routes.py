"""Declared routes, compiled and checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.addresses import Ambiguous
from gateway.model import ActionClass, Json, Reversibility, ToolClass
from gateway.upstreams.http.calls import condition_of, maker_of
from gateway.upstreams.http.declared import ONCE, DeclaredCall, DeclaredRoute
from gateway.upstreams.http.patterns import Pattern, clash, pattern_of
from gateway.upstreams.remote.plan import Maker, Probing, Retry
from gateway.upstreams.remote.templates import TemplateInvalid, TemplateMissing

# Where a fault lies within ``routes``: the index and the keys below it.
Fault = tuple[tuple[str | int, ...], str]

READING = frozenset({"GET", "HEAD"})
VERBS = {
    "GET": "call", "HEAD": "call", "OPTIONS": "call", "POST": "create", "PUT": "update",
    "PATCH": "update", "DELETE": "delete",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """``name`` is as declared: ``DELETE /customers/{id}``. ``no_effect``: statuses that say so."""

    name: str
    pattern: Pattern
    cls: ActionClass
    verb: str
    reversibility: Reversibility
    tool_class: ToolClass
    before: Maker | None = None
    undo: Maker | None = None
    verify: Maker | None = None
    redo: Maker | None = None
    redo_safe: bool = False
    probing: Probing | None = None
    retry: Retry = ONCE
    safe: bool = False
    undo_safe: bool = False
    key_header: str | None = None
    no_effect: frozenset[int] = frozenset()
    scalars: frozenset[str] = frozenset()
    graphql: bool = False
    if_match: bool = False
    ignore: tuple[str, ...] = ()
    key_kept_s: float = 86_400.0
    fence_s: float = 300.0

    @property
    def reads_answers(self) -> bool:
        """Whether some template may look into the answer, which must then not be compressed."""
        return any((self.undo, self.verify, self.redo, self.probing))


@dataclass(slots=True)
class Table:
    """``find`` is exact: at most one route matches, the more special one first."""

    _routes: dict[tuple[str, int], list[Route]] = field(default_factory=dict)

    @classmethod
    def of(cls, routes: Sequence[Route]) -> Table:
        table = cls()
        for route in sorted(routes, key=lambda r: -r.pattern.literals):
            at = (route.pattern.method, len(route.pattern.segments))
            table._routes.setdefault(at, []).append(route)
        return table

    def find(self, method: str, segments: Sequence[str]) -> tuple[Route, dict[str, str]] | None:
        for route in self._routes.get((method, len(segments)), ()):
            found = route.pattern.match(segments)
            if found is not None:
                return route, found
        if method == "HEAD":
            return self.find("GET", segments)
        return None


def compile_routes(declared: Sequence[DeclaredRoute]) -> tuple[Table, list[Fault]]:
    """The table of those that are right, and what is wrong with the others."""
    routes: list[Route] = []
    faults: list[Fault] = []
    for index, one in enumerate(declared):
        try:
            route = _compiled(one)
        except TemplateInvalid as error:
            faults.append(((index, *error.at), str(error)))
            continue
        for other in routes:
            why = clash(route.pattern, other.pattern)
            if why is not None:
                faults.append(((index, "match"), f"{why} as {other.name}"))
        routes.append(route)
    return Table.of(routes), faults


def _compiled(declared: DeclaredRoute) -> Route:
    try:
        pattern = pattern_of(declared.match)
    except Ambiguous as error:
        raise TemplateInvalid(str(error), ("match",)) from None
    cls = declared.cls or _class_of(pattern.method)
    _check(declared, cls)
    known = {"request", "params"}
    made = known | ({"before"} if declared.before else set())
    names = pattern.variables
    probing = None
    if declared.probe is not None:
        probing = _probing(declared.probe, made, names)
    return Route(
        name=declared.match,
        pattern=pattern,
        cls=cls,
        verb=declared.verb or ("read" if cls is ActionClass.READ else VERBS[pattern.method]),
        reversibility=_reversibility(declared, cls),
        tool_class=_tool_class(declared),
        before=_maker(declared.before, "before", known, names),
        undo=_maker(declared.undo, "undo", made | {"response"}, names),
        verify=_maker(declared.verify, "verify", made | {"response"}, names),
        redo=_maker(declared.redo, "redo", made | {"response", "after"}, names),
        redo_safe=_repeatable(declared.redo),
        probing=probing,
        retry=declared.retry,
        safe=declared.safe,
        undo_safe=_repeatable(declared.undo),
        key_header=declared.idempotency_key.lower() if declared.idempotency_key else None,
        no_effect=_no_effect(declared),
        scalars=declared.scalars,
        graphql=declared.graphql,
        if_match=declared.if_match,
        ignore=declared.ignore,
        key_kept_s=declared.key_kept_s,
        fence_s=declared.fence_s,
    )


def _repeatable(call: DeclaredCall | None) -> bool:
    """Whether HTTP itself says that sending it twice is like sending it once."""
    return call is not None and call.call.partition(" ")[0] in ("PUT", "DELETE")


def _maker(
    call: DeclaredCall | None, key: str, roots: Collection[str], variables: Collection[str]
) -> Maker | None:
    if call is None:
        return None
    try:
        return maker_of(call, roots, variables)
    except TemplateInvalid as error:
        raise TemplateInvalid(str(error), (key, *error.at)) from None


def _probing(call: DeclaredCall, roots: Collection[str], variables: Collection[str]) -> Probing:
    maker = _maker(call, "probe", roots, variables)
    if maker is None or call.happened is None:
        raise TemplateInvalid("a probe says what shows that the call happened", ("probe",))
    try:
        condition = condition_of(call.happened, {*roots, "response"})
    except TemplateInvalid as error:
        raise TemplateInvalid(str(error), ("probe", *error.at)) from None
    return Probing(request=maker, happened=_judge(condition.render), fence_s=call.fence_s)


def _judge(
    render: Callable[[Mapping[str, Json]], Json],
) -> Callable[[Mapping[str, Json]], bool | None]:
    def happened(values: Mapping[str, Json]) -> bool | None:
        try:
            found = render(values)
        except TemplateMissing:
            return None
        # Only a truth value decides: anything else is an answer that does not tell.
        return found if isinstance(found, bool) else None

    return happened


def _check(declared: DeclaredRoute, cls: ActionClass) -> None:
    reading = cls is ActionClass.READ
    for key in ("before", "undo", "verify", "redo", "probe", "idempotency_key", "reversibility"):
        if reading and getattr(declared, key) is not None:
            raise TemplateInvalid("a route that only reads has no such thing", (key,))
    if declared.redo is not None and (
        declared.undo is None or not (declared.before or declared.verify)
    ):
        why = "a redo needs `undo`, and `before` or `verify` to see what it leads to"
        raise TemplateInvalid(why, ("redo",))
    claimed = declared.reversibility
    if claimed in (Reversibility.EXACT, Reversibility.COMPENSABLE) and declared.undo is None:
        raise TemplateInvalid(f"a route that is {claimed} needs `undo`", ("reversibility",))
    if claimed is Reversibility.IRREVERSIBLE and declared.undo is not None:
        raise TemplateInvalid("a route with `undo` is not irreversible", ("reversibility",))
    if claimed is Reversibility.EXACT and declared.verify is None:
        raise TemplateInvalid("a route that is exact needs `verify`", ("reversibility",))
    for key in ("before", "verify", "probe"):
        call = getattr(declared, key)
        if call is not None and call.call.partition(" ")[0] not in READING and key != "probe":
            raise TemplateInvalid("only GET and HEAD are sent to look", (key, "call"))
    if declared.if_match and declared.before is None:
        raise TemplateInvalid("if_match needs `before`, which shows the ETag", ("if_match",))
    if declared.graphql and declared.match.partition(" ")[0] != "POST":
        raise TemplateInvalid("GraphQL is judged over POST only", ("graphql",))


def _class_of(method: str) -> ActionClass:
    if method in READING:
        return ActionClass.READ
    return ActionClass.DESTRUCTIVE if method == "DELETE" else ActionClass.WRITE


def _reversibility(declared: DeclaredRoute, cls: ActionClass) -> Reversibility:
    if cls is ActionClass.READ:
        return Reversibility.NONE
    if declared.reversibility is not None:
        return declared.reversibility
    return Reversibility.COMPENSABLE if declared.undo else Reversibility.IRREVERSIBLE


def _tool_class(declared: DeclaredRoute) -> ToolClass:
    if declared.idempotency_key is not None:
        return ToolClass.KEYED
    return ToolClass.PROBEABLE if declared.probe is not None else ToolClass.OPAQUE


def _no_effect(declared: DeclaredRoute) -> frozenset[int]:
    if declared.idempotency_key is None:
        return declared.error_means_no_effect
    # With a key these may speak of an earlier request that is still running.
    return declared.error_means_no_effect - {409, 425}
