"""The composition root: the only package that names concrete classes and gives them to each
other."""

from __future__ import annotations

from gateway.app.life import opened, seed_sources
from gateway.app.offline import check, explain
from gateway.app.parts import Parts, SystemClock, assemble, new_id
from gateway.app.preparing import prepare
from gateway.app.serving import application, build

__all__ = [
    "Parts",
    "SystemClock",
    "application",
    "assemble",
    "build",
    "check",
    "explain",
    "new_id",
    "opened",
    "prepare",
    "seed_sources",
]
