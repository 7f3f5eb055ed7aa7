"""The project's files as the house tests read them."""

from __future__ import annotations

import ast
import gc
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A Python file; ``path`` is relative to the project, with slashes."""

    path: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())


def source(path: str, text: str) -> Source:
    # A collection in the midst of a parse lets other code run. If that parses, too, Python 3.11
    # takes its depth for a fault of its own (python/cpython#106905).
    collecting = gc.isenabled()
    gc.disable()
    try:
        return Source(path, text, ast.parse(text, path))
    finally:
        if collecting:
            gc.enable()


@cache
def python(folder: str) -> tuple[Source, ...]:
    """All Python files under ``folder``."""
    return tuple(
        source(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
        for file in sorted((ROOT / folder).rglob("*.py"))
    )


@cache
def project_files() -> tuple[str, ...]:
    """What belongs to the project: tracked, or new and not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = listed.stdout.decode("utf-8").split("\0")
    return tuple(sorted(n for n in set(names) if n and (ROOT / n).is_file()))


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name, nested ones and methods included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield f"{prefix}{node.name}", node
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        else:
            yield from functions(node, prefix)


def placed(of: Source) -> Iterator[tuple[str, ast.AST]]:
    """Every node with the dotted name of the function that it stands in (``""`` outside)."""
    yield from _placed(of.tree, "")


def _placed(node: ast.AST, where: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        yield where, child
        inside = where
        if isinstance(child, Function | ast.ClassDef):
            inside = f"{where}.{child.name}" if where else child.name
        yield from _placed(child, inside)


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for such an expression, ``""`` for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""
