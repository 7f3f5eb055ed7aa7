"""The reads and ways back that mcp-server-git has no tools for, done by git itself.

Agents never see them: only declarations call them (``companion: true``). Each way back says what it
expects to find and changes nothing where something else stands; done already, it is done. Working
trees are never touched.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.model import Json
from gateway.upstreams.remote.transport import Answer

TIMEOUT_S = 20.0
DETACHED, NOTHING = "HEAD", ""
_BRANCHES = "refs/heads/"
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_INHERITED = ("HOME", "PATH", "TMPDIR")
# Nothing that a repository names is run: no hooks, no monitor of files.
_GIT = ("git", "-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
_SAFE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class GitRefused(Exception):
    """Why it was not done. ``certain``: nothing has changed."""

    def __init__(self, why: str, *, certain: bool = True) -> None:
        super().__init__(why)
        self.certain = certain


class Repositories:
    """``inside``: the folder whose repository alone may be named; any absolute one otherwise.
    ``environment``: of the server, of which only what finds programs and files is taken."""

    def __init__(self, environment: Mapping[str, str], inside: Path | None = None) -> None:
        self._environment = environment
        self._inside = inside

    async def ask(self, tool: str, arguments: Mapping[str, Json]) -> Answer:
        """One of ``TOOLS``. A refusal is an answer that failed."""
        try:
            view = await asyncio.to_thread(self._run, tool, arguments)
        except GitRefused as refused:
            return Answer(
                view={"text": str(refused)},
                result={"refused": str(refused)},
                failed=True,
                proves_no_effect=refused.certain,
            )
        return Answer(view=view, result=view)

    def _run(self, tool: str, arguments: Mapping[str, Json]) -> dict[str, Json]:
        given: dict[str, str] = {}
        for name in TOOLS[tool]:
            value = arguments.get(name)
            if not isinstance(value, str) or "\0" in value:
                raise GitRefused(f"{name} is no text")
            given[name] = value
        return _RUN[tool](self._opened(given["repo_path"]), given)

    def _opened(self, named: str) -> Repository:
        path = Path(named)
        if not path.is_absolute() or not path.is_dir():
            raise GitRefused("repo_path is no absolute path of a folder here")
        path = path.resolve()
        if self._inside is not None and not path.is_relative_to(_root(self._inside.resolve())):
            raise GitRefused("repo_path is outside of the server's repository")
        inherited = {k: self._environment[k] for k in _INHERITED if k in self._environment}
        # Where the named folder is none, git must not take up a repository further up.
        above = {"GIT_CEILING_DIRECTORIES": str(path.parent)}
        found = Repository(path, {**inherited, **_SAFE, **above})
        if found.git("rev-parse", "--show-toplevel") != str(path):
            raise GitRefused("repo_path is not the top folder of a working tree")
        return found


class Repository:
    """One working tree with its repository. Everything raises ``GitRefused``."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path = path
        self._environment = environment

    def raw(self, *arguments: str, index: Path | None = None) -> tuple[int, bytes, str]:
        environ = dict(self._environment)
        if index is not None:
            environ["GIT_INDEX_FILE"] = str(index)
        try:
            done = subprocess.run(  # noqa: S603 - git alone, and never through a shell
                (*_GIT, *arguments),
                cwd=self._path,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GitRefused("git did not answer in time", certain=False) from error
        except OSError as error:
            raise GitRefused(f"git cannot be run: {error.strerror}") from error
        return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()

    def git(self, *arguments: str, index: Path | None = None) -> str:
        code, out, said = self.raw(*arguments, index=index)
        if code != 0:
            raise GitRefused(f"git {arguments[0]}: {said[:300]}")
        return out.decode(errors="surrogateescape").removesuffix("\n")

    def found(self, *arguments: str) -> str:
        """What a quiet query says, ``NOTHING`` where it finds nothing."""
        code, out, said = self.raw(*arguments)
        if code not in (0, 1):
            raise GitRefused(f"git {arguments[0]}: {said[:300]}")
        return out.decode(errors="surrogateescape").removesuffix("\n") if code == 0 else NOTHING

    def at(self, name: str) -> str:
        return self.found("rev-parse", "--quiet", "--verify", "--end-of-options", name)

    def head(self) -> str:
        """The branch that is checked out, in full, or ``DETACHED``."""
        ref = self.found("symbolic-ref", "--quiet", "HEAD") or DETACHED
        if ref != DETACHED and not ref.startswith(_BRANCHES):
            raise GitRefused("HEAD is on something that is no branch")
        return ref

    def tree(self, index: Path | None = None) -> str:
        """The index as a tree, which git keeps like anything that nothing refers to. Refused where
        a tree cannot say all that the index holds."""
        listed = self.raw("ls-files", "--stage", "-v", "-z", index=index)
        entries = listed[1].split(b"\0")[:-1]
        plain = all(
            entry.startswith(b"H ") and entry.split(b"\t")[0].endswith(b" 0") for entry in entries
        )
        if listed[0] != 0 or not plain:
            raise GitRefused("the index has conflicts or flags that no tree can hold")
        tree = self.git("write-tree", index=index)
        if len(self.raw("ls-tree", "-r", "-z", tree)[1].split(b"\0")[:-1]) != len(entries):
            raise GitRefused("the index has files that are only intended to be added")
        return tree

    def branch(self, name: str) -> str:
        """The full name of a branch."""
        ref = f"{_BRANCHES}{name}"
        # mcp-server-git takes a full name for what it is.
        if name.startswith(("-", "refs/")) or self.raw("check-ref-format", ref)[0] != 0:
            raise GitRefused("that is no name of a branch")
        if self.found("symbolic-ref", "--quiet", ref):
            raise GitRefused("the branch stands for another one")
        return ref

    def checked_out(self, ref: str) -> bool:
        """In this or any other working tree of the repository."""
        shown = self.git("for-each-ref", "--format=%(worktreepath)", ref)
        return shown != "" or self.head() == ref

    @contextmanager
    def index_locked(self) -> Iterator[tuple[Path, Callable[[], None]]]:
        """A copy of the index, and what puts it in the index's place, while no git can write it."""
        named = self.git("rev-parse", "--path-format=absolute", "--git-path", "index")
        index, lock = Path(named), Path(f"{named}.lock")
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise GitRefused(f"the index cannot be locked: {error.strerror}") from error
        try:
            with tempfile.TemporaryDirectory(dir=index.parent, prefix="holdfast-") as folder:
                copy = Path(folder, "index")
                if index.exists():
                    copy.write_bytes(index.read_bytes())
                yield copy, lambda: os.replace(copy, index)
        finally:
            lock.unlink()


def _root(folder: Path) -> Path:
    """The top of the working tree that ``folder`` is in, as mcp-server-git finds it."""
    return next((at for at in (folder, *folder.parents) if (at / ".git").exists()), folder)


def _object(named: str) -> str:
    if _OBJECT.fullmatch(named) is None:
        raise GitRefused("that is no full name of an object")
    return named


def _state(repository: Repository, given: Mapping[str, str]) -> dict[str, Json]:  # noqa: ARG001 - has no more
    return {
        "ref": repository.head(),
        "commit": repository.at("HEAD^{commit}"),
        "head_tree": repository.at("HEAD^{tree}"),
        "tree": repository.tree(),
        "merging": repository.at("MERGE_HEAD") != NOTHING,
    }


def _head(repository: Repository, given: Mapping[str, str]) -> dict[str, Json]:  # noqa: ARG001 - has no more
    """What has to be checked out for HEAD to stand where it stands."""
    ref, commit = repository.head(), repository.at("HEAD^{commit}")
    if commit == NOTHING:
        raise GitRefused("HEAD is on a branch without commits")
    if ref != DETACHED:
        return {"at": ref.removeprefix(_BRANCHES)}
    if repository.at(f"{_BRANCHES}{commit}"):
        raise GitRefused("a branch has the name of the commit at which HEAD is detached")
    return {"at": commit}


def _add_branch(repository: Repository, given: Mapping[str, str]) -> dict[str, Json]:
    ref, start = repository.branch(given["branch"]), _object(given["at"])
    if repository.at(ref) != start:
        why = "holdfast: branch brought again"
        repository.git("update-ref", "--no-deref", "-m", why, ref, start, "0" * len(start))
    return {"ref": ref, "commit": start}


def _branch(repository: Repository, given: Mapping[str, str]) -> dict[str, Json]:
    ref, base = repository.branch(given["branch"]), given["base"]
    start = repository.at(f"{_BRANCHES}{base}^{{commit}}") if base else NOTHING
    start = start or repository.at(f"{base or 'HEAD'}^{{commit}}")
    return {
        "ref": ref,
        "commit": repository.at(ref),
        "start": start,
        "checked_out": repository.checked_out(ref),
    }


def _move_head(repository: Repository, given: Mapping[str, str]) -> dict[str, Json]:
    ref, before = given["ref"], given["to"]
    after = _object(given["from"]) if given["from"] else "0" * len(before)
    if repository.head() != ref:
        raise GitRefused("another branch is checked out")
    if repository.at("HEAD^{commit}") != before:
        if before == NOTHING:
            repository.git("update-ref", "--no-deref", "-d", ref, after)
        else:
            why = "holdfast: commit taken back"
            repository.git("update-ref", "--no-deref", "-m", why, ref, _object(before), after)
    return {"ref": ref, "commit": before}


def _remove_branch(repository: Repository, given: Mapping[str, str]) -> dict[str, Json]:
    ref, made = repository.branch(given["branch"]), _object(given["from"])
    if repository.at(ref):
        if repository.checked_out(ref):
            raise GitRefused("the branch is checked out")
        repository.git("update-ref", "--no-deref", "-d", ref, made)
    return {"ref": ref, "commit": NOTHING}


def _stage(repository: Repository, given: Mapping[str, str]) -> dict[str, Json]:
    tree, expected = _object(given["to"]), given["from"]
    with repository.index_locked() as (copy, replace):
        now = repository.tree(copy)
        if now != tree:
            if expected not in (NOTHING, now):
                raise GitRefused("the index holds something else by now")
            repository.git("read-tree", tree, index=copy)
            replace()
    return {"tree": tree}


_RUN: Mapping[str, Callable[[Repository, Mapping[str, str]], dict[str, Json]]] = {
    "state": _state,
    "head": _head,
    "add_branch": _add_branch,
    "branch": _branch,
    "move_head": _move_head,
    "remove_branch": _remove_branch,
    "stage": _stage,
}
# Every tool with its arguments; all of them are texts and needed.
TOOLS: Mapping[str, frozenset[str]] = {
    "state": frozenset({"repo_path"}),
    "head": frozenset({"repo_path"}),
    "add_branch": frozenset({"repo_path", "branch", "at"}),
    "branch": frozenset({"repo_path", "branch", "base"}),
    "move_head": frozenset({"repo_path", "ref", "to", "from"}),
    "remove_branch": frozenset({"repo_path", "branch", "from"}),
    "stage": frozenset({"repo_path", "to", "from"}),
}
