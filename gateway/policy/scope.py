"""Which names a policy's expression may use, and what is known of their values."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from gateway.policy.syntax import Module, Path


@dataclass(slots=True, kw_only=True)
class Scope:
    """The variables of one query. A variable is ``bound`` once it has a value for certain, and
    ``pending`` between ``some i`` and the first ``x[i]``."""

    outer: Scope | None = None
    bound: set[str] = field(default_factory=set)
    pending: dict[str, int] = field(default_factory=dict)  # name -> line
    scalars: set[str] = field(default_factory=set)
    wholes: dict[str, int] = field(default_factory=dict)  # name -> largest magnitude

    def is_bound(self, name: str) -> bool:
        return name in self.bound or (self.outer is not None and self.outer.is_bound(name))

    def knows(self, name: str) -> bool:
        here = name in self.bound or name in self.pending
        return here or (self.outer is not None and self.outer.knows(name))

    def is_scalar(self, name: str) -> bool:
        # `is_number(x)` guards x for the query it stands in and those within it. Nothing shadows.
        return name in self.scalars or (self.outer is not None and self.outer.is_scalar(name))

    def whole(self, name: str) -> int | None:
        here = self.wholes.get(name)
        return self.outer.whole(name) if here is None and self.outer is not None else here


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All definitions under one rule's path, as other rules see them."""

    path: Path
    kind: str
    arity: int
    defaulted: bool
    file: str
    line: int

    @property
    def always_defined(self) -> bool:
        return self.kind in ("set", "object") or self.defaulted


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a name can stand for in one module."""

    module: Module
    known: Mapping[Path, Known]
    packages: Set[Path]
    data: Set[str]
    fields: Mapping[str, Set[str]] | None

    def rule(self, name: str) -> Known | None:
        return self.known.get((*self.module.package, name))
