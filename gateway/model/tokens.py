"""Proofs that a move was made durable. Only a store issues them; the next step demands them."""

from __future__ import annotations

from typing import ClassVar


class _Token:
    """Only ``issue`` of the subclass, called by a store, makes one: a plain constructor call
    raises, and a house test finds ``issue`` outside ``gateway/store``."""

    __slots__ = ("call", "generation")
    _key: ClassVar[object] = object()

    def __init__(self, key: object, call: str, generation: int) -> None:
        if key is not _Token._key:
            raise TypeError(f"{type(self).__name__} is issued by the store alone")
        self.call = call
        self.generation = generation

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.call}, generation {self.generation})"


class Intent(_Token):
    """Proof that the intent is durable; ``begin`` needs it."""

    @classmethod
    def issue(cls, call: str, generation: int) -> Intent:
        return cls(_Token._key, call, generation)


class Running(_Token):
    """Proof that the call has begun, after the freeze check; running needs it."""

    @classmethod
    def issue(cls, call: str, generation: int) -> Running:
        return cls(_Token._key, call, generation)


class Permit(_Token):
    """Proof that images and undo are durable and no freeze came; committing needs it."""

    @classmethod
    def issue(cls, call: str, generation: int) -> Permit:
        return cls(_Token._key, call, generation)
