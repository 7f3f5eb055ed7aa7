"""The part of the load check that reads queries and expressions (see ``vet``)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.model import Json
from gateway.policy import numbers
from gateway.policy.calls import call_fault
from gateway.policy.functions import ALLOWED, SCALAR_RESULTS, refusal
from gateway.policy.input import COUNTED, COUNTERS
from gateway.policy.scope import Known, Names, Scope
from gateway.policy.syntax import Fault, Path, dotted, line_of, node

_ORDERINGS = frozenset({"Lt", "Le", "Gt", "Ge"})
_CONSTANTS = frozenset({"String", "RawString", "Number", "Bool", "Null"})
_COMPREHENSIONS = frozenset({"ArrayCompr", "SetCompr", "ObjectCompr"})
_NOT_FIRST = (
    "give the operand a name before `not` (x := ...; not f(x)): inside `not` an undefined one is "
    "judged differently from one engine to another"
)
_SCALAR_INPUT = frozenset(
    {
        ("context", "time"),
        ("context", "measured", "rows"),
        ("context", "measured", "share"),
        *(("context", "counters", part, name) for part in COUNTED for name in COUNTERS),
    }
)


class Checker:
    """Reads one rule; collects ``faults`` and, in ``links``, the rules it depends on."""

    def __init__(self, names: Names, links: set[Path]) -> None:
        self.names = names
        self.links = links
        self.faults: list[Fault] = []

    def refuse(self, line: int, message: str) -> None:
        self.faults.append(Fault(file=self.names.module.file, line=line, message=message))

    # --- queries ----------------------------------------------------------------------------

    def query(self, query: Mapping[str, Json], outer: Scope) -> Scope:
        """Reads the statements in order; the scope is theirs, for what is built from them."""
        scope = Scope(outer=outer)
        for statement in query["stmts"]:
            self._guard(statement, scope)
        for statement in query["stmts"]:
            self._with(statement, scope)
            self._literal(statement["literal"], scope)
        return scope

    def close(self, scope: Scope) -> None:
        for name, line in scope.pending.items():
            self.refuse(line, f"variable {name} never gets a value")

    def declare(self, name: str, scope: Scope, line: int) -> None:
        hidden = self.names.rule(name) is not None
        if scope.knows(name) or hidden or name in ("input", "data") or name in ALLOWED:
            self.refuse(line, f"variable {name} hides something of that name")
        scope.bound.add(name)

    def _guard(self, statement: Mapping[str, Json], scope: Scope) -> None:
        kind, members = node(statement["literal"])
        if kind != "Expr" or statement.get("with_mods") or node(members["expr"])[0] != "Call":
            return
        _, call = node(members["expr"])
        if dotted(call["fcn"]) in (("is_number",), ("is_string",)) and len(call["params"]) == 1:
            form, inner = node(call["params"][0])
            if form == "Var":
                scope.scalars.add(inner["value"])

    def _with(self, statement: Mapping[str, Json], scope: Scope) -> None:
        for change in statement.get("with_mods") or ():
            line = change["span"]["line"]
            target = dotted(change["refr"])
            if not self.names.module.is_test:
                self.refuse(line, "`with` is for tests")
            elif target is None or not self._replaceable(target):
                self.refuse(line, "`with` replaces only input and data, never rules or functions")
            self.expression(change["as"], scope)

    def _replaceable(self, target: Path) -> bool:
        if target[0] == "input":
            return True
        return target[0] == "data" and len(target) > 1 and target[1] in self.names.data

    def _literal(self, literal: Mapping[str, Json], scope: Scope) -> None:
        kind, members = node(literal)
        line = members["span"]["line"]
        if kind == "SomeVars":
            for span in members["vars"]:
                name = self.names.module.text(span)
                self.declare(name, scope, line)
                scope.bound.discard(name)
                scope.pending[name] = line
        elif kind == "SomeIn":
            self.expression(members["collection"], scope)
            for part in (members["key"], members["value"]):
                self._pattern(part, scope)
        elif kind == "Expr":
            self._positive(members["expr"], scope)
        elif kind == "NotExpr":
            self._negated(members["expr"], scope)
        elif kind == "Every":
            self._every(members, scope)
        else:
            self.refuse(line, f"this form of statement ({kind}) is not accepted")

    def _pattern(self, part: Mapping[str, Json] | None, scope: Scope) -> None:
        if part is None:
            return
        kind, members = node(part)
        if kind == "Var":
            if members["value"] != "_":
                self.declare(members["value"], scope, line_of(part))
        else:
            self.refuse(line_of(part), "`some ... in` takes names, not patterns")

    def _every(self, members: Mapping[str, Json], scope: Scope) -> None:
        self.expression(members["domain"], scope)
        inner = Scope(outer=scope)
        for span in (members["key"], members["value"]):
            if span is not None:
                name = self.names.module.text(span)
                if name != "_":
                    self.declare(name, inner, span["line"])
        self.close(self.query(members["query"], inner))

    def _positive(self, expression: Mapping[str, Json], scope: Scope) -> None:
        kind, members = node(expression)
        if kind != "AssignExpr":
            self.expression(expression, scope)
            return
        if members["op"] != "ColEq":
            self.refuse(line_of(expression), "use := to name and == to compare, not =")
            return
        self.expression(members["rhs"], scope)
        form, target = node(members["lhs"])
        targets = target["items"] if form == "Array" else [members["lhs"]]
        for item in targets:
            self._pattern(item, scope)
        if form == "Var":
            self._learn(target["value"], members["rhs"], scope)

    def _learn(self, name: str, value: Mapping[str, Json], scope: Scope) -> None:
        if self._is_scalar(value, scope):
            scope.scalars.add(name)
        bound = numbers.magnitude(value, scope, self.names.module)
        if bound is not None:
            scope.wholes[name] = bound

    # --- not --------------------------------------------------------------------------------

    def _negated(self, expression: Mapping[str, Json], scope: Scope) -> None:
        kind, members = node(expression)
        self.expression(expression, scope, negated=True)
        if kind in ("Var", "RefDot", "RefBrack"):
            if not self._is_fixed(expression, scope):
                self.refuse(line_of(expression), _NOT_FIRST)
            return
        operands: list[Mapping[str, Json]] = []
        if kind == "Call":
            operands = members["params"]
        elif kind == "BoolExpr":
            operands = [members["lhs"], members["rhs"]]
        elif kind == "Membership":
            operands = [members[part] for part in ("key", "value", "collection") if members[part]]
        else:
            self.refuse(line_of(expression), "`not` takes a name, a call or a comparison")
        equality = kind == "BoolExpr" and members["op"] == "Eq"
        for at, operand in enumerate(operands):
            # One plain reference beside == is judged alike; anything more is not.
            lone = equality and self._is_solid(operands[1 - at], scope)
            if not self._is_solid(operand, scope) and not (lone and self._is_plain(operand)):
                self.refuse(line_of(operand), _NOT_FIRST)

    def _is_plain(self, value: Mapping[str, Json]) -> bool:
        return dotted(value) is not None

    def _is_fixed(self, value: Mapping[str, Json], scope: Scope) -> bool:
        """A reference whose indices are constants or variables that have a value."""
        kind, members = node(value)
        if kind == "Var":
            return True
        if kind == "RefDot":
            return self._is_fixed(members["refr"], scope)
        if kind != "RefBrack":
            return False
        index, inner = node(members["index"])
        sure = index in _CONSTANTS or (index == "Var" and scope.is_bound(inner["value"]))
        return sure and self._is_fixed(members["refr"], scope)

    def _is_solid(self, value: Mapping[str, Json], scope: Scope) -> bool:
        """Whether ``value`` has a value for certain, or raises."""
        kind, members = node(value)
        if kind in _CONSTANTS or kind in _COMPREHENSIONS:
            return True
        if kind in ("Array", "Set"):
            return all(self._is_solid(item, scope) for item in members["items"])
        if kind == "Object":
            fields = members["fields"]
            return all(self._is_solid(k, scope) and self._is_solid(v, scope) for _, k, v in fields)
        if kind == "Var" and scope.is_bound(members["value"]):
            return True
        if kind == "Call":
            called = dotted(members["fcn"]) or ()
            solid = all(self._is_solid(item, scope) for item in members["params"])
            return solid and ".".join(called) in ALLOWED
        path = dotted(value)
        known = None if path is None or scope.knows(path[0]) else self._known(path)
        return known is not None and known.always_defined

    def _known(self, path: Path) -> Known | None:
        """The rule that ``path`` names exactly."""
        if path[0] == "data":
            return self.names.known.get(path[1:])
        return self.names.rule(path[0]) if len(path) == 1 else None

    # --- expressions ------------------------------------------------------------------------

    def expression(self, value: Mapping[str, Json], scope: Scope, *, negated: bool = False) -> None:
        kind, members = node(value)
        if kind == "Number":
            self._number(members)
        elif kind in _CONSTANTS:
            return
        elif kind in ("Var", "RefDot", "RefBrack"):
            self._reference(value, scope, negated=negated)
        elif kind in ("Array", "Set"):
            for item in members["items"]:
                self.expression(item, scope, negated=negated)
        elif kind == "Object":
            for _, key, member in members["fields"]:
                self.expression(key, scope, negated=negated)
                self.expression(member, scope, negated=negated)
        elif kind in _COMPREHENSIONS:
            self._comprehension(members, scope)
        elif kind == "Call":
            self._call(members, scope, negated=negated)
        elif kind in ("BinExpr", "BoolExpr", "ArithExpr", "Membership"):
            self._operation(value, scope, negated=negated)
        else:
            self.refuse(line_of(value), f"this form of expression ({kind}) is not accepted")

    def _number(self, members: Mapping[str, Json]) -> None:
        text = self.names.module.text(members["span"])
        if not numbers.is_plain(text):
            message = f"write {text} with at most 15 digits, without exponent or .0"
            self.refuse(members["span"]["line"], message)

    def _comprehension(self, members: Mapping[str, Json], scope: Scope) -> None:
        inner = self.query(members["query"], scope)
        for part in ("term", "key", "value"):
            if part in members:
                self.expression(members[part], inner)
        self.close(inner)

    def _operation(self, value: Mapping[str, Json], scope: Scope, *, negated: bool) -> None:
        kind, members = node(value)
        for part in ("key", "value", "collection", "lhs", "rhs"):
            if members.get(part) is not None:
                self.expression(members[part], scope, negated=negated)
        if kind == "BoolExpr":
            self._comparison(members, scope)
        if kind == "ArithExpr" and numbers.magnitude(value, scope, self.names.module) is None:
            message = (
                "arithmetic is accepted only on whole numbers that stay small for certain "
                "(literals, count(...), measured rows); engines differ on the rest"
            )
            self.refuse(line_of(value), message)

    def _comparison(self, members: Mapping[str, Json], scope: Scope) -> None:
        sides, line = (members["lhs"], members["rhs"]), members["span"]["line"]
        if all(node(side)[0] in _CONSTANTS for side in sides):
            self.refuse(line, "this compares two constants")
        elif members["op"] in _ORDERINGS and not any(self._is_scalar(s, scope) for s in sides):
            message = "order needs a side that is surely a number or text: add is_number(x)"
            self.refuse(line, message)

    def _is_scalar(self, value: Mapping[str, Json], scope: Scope) -> bool:
        kind, members = node(value)
        if kind in ("Number", "String", "RawString", "ArithExpr"):
            return True
        if kind == "Call":
            return ".".join(dotted(members["fcn"]) or ()) in SCALAR_RESULTS
        if kind == "Var" and scope.is_scalar(members["value"]):
            return True
        path = dotted(value)
        return path is not None and path[0] == "input" and path[1:] in _SCALAR_INPUT

    def _call(self, members: Mapping[str, Json], scope: Scope, *, negated: bool) -> None:
        path, line = dotted(members["fcn"]), members["span"]["line"]
        for item in members["params"]:
            self.expression(item, scope, negated=negated)
        if path is None or scope.knows(path[0]):
            self.refuse(line, "only a named function is called")
            return
        known = self._known(path)
        name = ".".join(path)
        if known is not None:
            self.links.add(known.path)
            if known.kind != "function":
                self.refuse(line, f"{name} is not a function")
            arity: int | None = known.arity
        else:
            arity = ALLOWED.get(name)
            if arity is None:
                self.refuse(line, refusal(name))
                return
            fault = call_fault(name, members["params"])
            if fault is not None:
                self.refuse(line, fault)
        if len(members["params"]) != arity:
            self.refuse(line, f"{name} takes {arity} argument(s), not {len(members['params'])}")

    def _reference(self, value: Mapping[str, Json], scope: Scope, *, negated: bool) -> None:
        """Walks down to the head, reading dynamic indices on the way."""
        line, static = line_of(value), dotted(value)
        head, steps = value, []
        while node(head)[0] in ("RefDot", "RefBrack"):
            kind, members = node(head)
            if kind == "RefBrack":
                self._index(members["index"], scope, negated=negated)
                index, inner = node(members["index"])
                steps.append(inner["value"] if index == "String" else None)
            else:
                steps.append(members["field"][1])
            head = members["refr"]
        steps.reverse()
        form, inner = node(head)
        if form != "Var":
            self.expression(head, scope, negated=negated)
        else:
            self._head(inner["value"], steps, static, scope, line)

    def _index(self, index: Mapping[str, Json], scope: Scope, *, negated: bool) -> None:
        kind, members = node(index)
        if kind != "Var":
            self.expression(index, scope, negated=negated)
        elif members["value"] == "_" and not negated:
            return
        elif members["value"] in scope.pending and not negated:
            del scope.pending[members["value"]]
            scope.bound.add(members["value"])
        else:
            self.expression(index, scope, negated=negated)

    def _head(
        self, name: str, steps: list[str | None], static: Path | None, scope: Scope, line: int
    ) -> None:
        if scope.is_bound(name):
            return
        if name == "input":
            self._input(steps, line)
        elif name == "data":
            self._data(steps, line)
        elif (rule := self.names.rule(name)) is not None:
            self._uses(rule, line)
        elif scope.knows(name):
            self.refuse(line, f"variable {name} has no value here; index with it first")
        else:
            shown = ".".join(static) if static else name
            self.refuse(line, f"{shown} is neither a variable with a value nor a rule")

    def _input(self, steps: list[str | None], line: int) -> None:
        fields = self.names.fields
        if fields is None or not steps:
            return
        if steps[0] is None or steps[0] not in fields:
            self.refuse(line, f"input has no field {steps[0] or 'of a changing name'}")
            return
        second = steps[1] if len(steps) > 1 else None
        if second is not None and fields[steps[0]] and second not in fields[steps[0]]:
            self.refuse(line, f"input.{steps[0]} has no field {second}")

    def _data(self, steps: list[str | None], line: int) -> None:
        static: list[str] = []
        for step in steps:
            if step is None:
                break
            static.append(step)
            rule = self.names.known.get(tuple(static))
            if rule is not None:
                self._uses(rule, line)
                return
        if static and static[0] in self.names.data:
            return
        self.refuse(line, f"data.{'.'.join(static)} is neither a rule nor data")

    def _uses(self, rule: Known, line: int) -> None:
        self.links.add(rule.path)
        if rule.kind == "function":
            self.refuse(line, f"{rule.path[-1]} is a function and needs arguments")
