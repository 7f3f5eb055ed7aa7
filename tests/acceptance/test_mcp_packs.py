"""Handler packs against the real servers: done through the gateway, looked at, taken back."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fixtures.mcp.house import POLICY, House, current, house
from tests.fixtures.mcp.npm import node_module, node_program
from tests.fixtures.mcp.programs import client_python

Json = dict[str, Any]
ASIDE = ".undone-by-holdfast"


@dataclass
class Served:
    """One server behind a gateway, under the name ``it``."""

    house: House

    async def call(self, tool: str, /, **arguments: Any) -> Json:
        async with self.house.client() as agent:
            answer = await current(
                agent, "/mcp/it", "tools/call", {"name": tool, "arguments": arguments}
            )
        result: Json = answer.json()["result"]
        return result

    async def done(self, tool: str, /, **arguments: Any) -> str:
        """The id of a call that succeeded."""
        result = await self.call(tool, **arguments)
        assert not result.get("isError"), result
        call: str = result["_meta"]["holdfast/call"]["call"]
        return call

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """The reason why a call was not carried out."""
        result = await self.call(tool, **arguments)
        assert result["isError"], result
        reason: str = result["structuredContent"]["reason"]
        return reason

    async def reverted(self, call: str) -> Json:
        async with self.house.admin() as admin:
            answer = await admin.post("/admin/reverts", json={"call": call})
        found: Json = answer.json()
        return found


@asynccontextmanager
async def served(home: Path, server: Json, policy: str = POLICY) -> AsyncIterator[Served]:
    async with house(home, {"it": server}, policy=policy) as found:
        yield Served(found)


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file with its bytes, every folder as ``None``."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


def whole(outcome: Json) -> bool:
    return outcome["state"] == "reverted" and not outcome.get("conflicts")


def conflict(outcome: Json) -> bool:
    return "revert.conflict" in json.dumps(outcome) and outcome["state"] != "reverted"


# --- files


@asynccontextmanager
async def files(tmp_path: Path) -> AsyncIterator[tuple[Served, Path]]:
    root = (tmp_path / "files").resolve()
    root.mkdir()
    program = str(node_module("@modelcontextprotocol/server-filesystem/dist/index.js"))
    server = {"command": [node_program(), program, str(root)], "pack": "filesystem"}
    async with served(tmp_path, server) as it:
        yield it, root


async def test_files_come_back_byte_by_byte(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        kept, moved = root / "kept.txt", root / "moved.txt"
        kept.write_bytes("\ufeffone\r\ntwo ü\r\n\0end".encode())
        kept.chmod(0o640)
        moved.write_bytes(b"move me")
        (root / "folder").mkdir()
        (root / "folder" / "inside").write_bytes(b"\xff\xfe not text")
        stood = tree(root)
        calls = [
            await it.done("write_file", path=str(kept), content="gone"),
            await it.done("move_file", source=str(moved), destination=str(root / "there.txt")),
            await it.done("move_file", source=str(root / "folder"), destination=str(root / "f2")),
        ]
        assert kept.read_bytes() == b"gone"
        assert tree(root / "f2") == {"inside": b"\xff\xfe not text"}
        for call in reversed(calls):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
        assert tree(root) == stood
        assert kept.stat().st_mode & 0o777 == 0o640
        edits = [{"oldText": "two ü", "newText": "three"}]
        call = await it.done("edit_file", path=str(kept), edits=edits)
        assert b"three" in kept.read_bytes()
        assert b"\r" not in kept.read_bytes()
        assert whole(await it.reverted(call))
        assert tree(root) == stood


async def test_what_was_not_there_is_set_aside_and_nothing_is_lost(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        new, folder, old = root / "new.txt", root / "folder", root / "old"
        aside = root / f"new.txt{ASIDE}"
        old.mkdir()
        written = await it.done("write_file", path=str(new), content="mine")
        made = await it.done("create_directory", path=str(folder))
        assert folder.is_dir()
        again = await it.done("create_directory", path=str(old))
        for call in (again, made, written):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
        assert tree(root) == {f"new.txt{ASIDE}": b"mine", f"folder{ASIDE}": None, "old": None}
        # The name is taken now: a second way back fails, and the file stays.
        call = await it.done("write_file", path=str(new), content="second")
        outcome = await it.reverted(call)
        assert outcome["state"] != "reverted"
        assert (new.read_bytes(), aside.read_bytes()) == (b"second", b"mine")


async def test_what_could_not_come_back_is_not_done(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        (root / "image").write_bytes(b"\x89PNG\xff\xfe")
        stood = tree(root)
        assert await it.refused("write_file", path=str(root / "image"), content="") == (
            "undo.unavailable"
        )
        deep = str(root / "a" / "b")
        assert await it.refused("create_directory", path=deep) == "undo.unavailable"
        assert tree(root) == stood


async def test_what_somebody_wrote_in_a_file_since_stays(tmp_path: Path) -> None:
    async with files(tmp_path) as (it, root):
        path = root / "shared.txt"
        path.write_bytes(b"before")
        call = await it.done("write_file", path=str(path), content="agent")
        path.write_bytes(b"somebody")
        outcome = await it.reverted(call)
        assert conflict(outcome), outcome
        assert path.read_bytes() == b"somebody"
        moved = await it.done("move_file", source=str(path), destination=str(root / "to"))
        path.write_bytes(b"a new one")
        assert conflict(await it.reverted(moved))
        assert tree(root) == {"shared.txt": b"a new one", "to": b"somebody"}


# --- a graph


ENTITIES = [
    {"name": "Ada", "entityType": "person", "observations": ["a", "b", "c"]},
    {"name": "Bob", "entityType": "person", "observations": []},
]
RELATIONS = [
    {"from": "Ada", "to": "Bob", "relationType": "knows"},
    {"from": "Bob", "to": "Ada", "relationType": "helps"},
    {"from": "Bob", "to": "Cyd", "relationType": "waits for"},
]


def graph_text(entities: list[Json], relations: list[Json]) -> str:
    lines = [{"type": "entity", **each} for each in entities]
    lines += [{"type": "relation", **each} for each in relations]
    return "\n".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in lines)


@asynccontextmanager
async def graph(tmp_path: Path) -> AsyncIterator[tuple[Served, Path]]:
    file = tmp_path / "graph.jsonl"
    file.write_text(graph_text(ENTITIES, RELATIONS))
    program = str(node_module("@modelcontextprotocol/server-memory/dist/index.js"))
    server = {
        "command": [node_program(), program],
        "env": {"MEMORY_FILE_PATH": str(file)},
        "pack": "memory",
    }
    async with served(tmp_path, server) as it:
        yield it, file


async def test_a_graph_comes_back_byte_by_byte(tmp_path: Path) -> None:
    dee = {"name": "Dee", "entityType": "person", "observations": ["new"]}
    new = {"from": "Ada", "to": "Dee", "relationType": "met"}
    async with graph(tmp_path) as (it, file):
        stood = file.read_text()
        calls = [
            # One is there already, and must be there afterwards.
            await it.done("create_entities", entities=[ENTITIES[1], dee]),
            await it.done("create_relations", relations=[RELATIONS[0], new]),
            await it.done(
                "add_observations", observations=[{"entityName": "Ada", "contents": ["b", "d"]}]
            ),
            await it.done(
                "delete_observations", deletions=[{"entityName": "Ada", "observations": ["a"]}]
            ),
            await it.done("delete_relations", relations=[RELATIONS[1]]),
        ]
        shown = file.read_text()
        assert all(text in shown for text in ('"observations":["b","c","d"]', '"Dee"', '"met"'))
        assert "helps" not in shown
        for call in reversed(calls):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
        assert file.read_text() == stood


async def test_deleted_entities_come_back_with_their_relations(tmp_path: Path) -> None:
    async with graph(tmp_path) as (it, file):
        call = await it.done("delete_entities", entityNames=["Bob"])
        assert file.read_text() == graph_text(ENTITIES[:1], [])
        outcome = await it.reverted(call)
        assert whole(outcome), outcome
        assert file.read_text() == graph_text(ENTITIES, RELATIONS)
        # The relation to Cyd would go, and the server would not show that it was there.
        assert await it.refused("delete_entities", entityNames=["Cyd"]) == "undo.unavailable"
        # And an entity that relations have waited for takes none of them along.
        cyd = {"name": "Cyd", "entityType": "person", "observations": []}
        made = await it.done("create_entities", entities=[cyd])
        assert whole(await it.reverted(made))
        assert file.read_text() == graph_text(ENTITIES, RELATIONS)


async def test_what_somebody_wrote_in_a_graph_since_stays(tmp_path: Path) -> None:
    async with graph(tmp_path) as (it, file):
        call = await it.done("delete_entities", entityNames=["Bob"])
        changed = graph_text([ENTITIES[0], {**ENTITIES[1], "observations": ["other"]}], [])
        file.write_text(changed)
        assert conflict(await it.reverted(call))
        assert file.read_text() == changed


# --- a repository


_NAMES = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")


@dataclass
class Repository:
    path: Path

    def git(self, *arguments: str) -> str:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{name}": "somebody" for name in _NAMES},
        }
        done = subprocess.run(
            ("git", *arguments),
            cwd=self.path,
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def state(self) -> tuple[str, ...]:
        """Where HEAD is, all references, the index and the working tree."""
        return (
            self.git("symbolic-ref", "HEAD"),
            self.git("for-each-ref"),
            self.git("ls-files", "--stage"),
            self.git("status", "--porcelain"),
            (self.path / "file").read_text(),
        )


@asynccontextmanager
async def repository(
    tmp_path: Path, policy: str = POLICY
) -> AsyncIterator[tuple[Served, Repository]]:
    program = [client_python(), "-m", "mcp_server_git"]
    it = Repository(tmp_path / "repository")
    it.path.mkdir()
    it.git("init", "-q", "-b", "main")
    (it.path / "file").write_text("one\n")
    it.git("add", "file")
    it.git("commit", "-q", "-m", "first")
    it.git("branch", "a-other")
    it.git("branch", "other")
    server = {"command": [*program, "--repository", str(it.path)], "pack": "git"}
    async with served(tmp_path, server, policy) as found:
        yield found, it


async def test_a_branch_is_checked_out_again_and_staged_is_unstaged(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        (repo.path / "file").write_text("two\n")
        (repo.path / "untracked").write_text("new\n")
        stood, path = repo.state(), str(repo.path)
        checkout = await it.done("git_checkout", repo_path=path, branch_name="other")
        staged = await it.done("git_add", repo_path=path, files=["file", "untracked"])
        assert repo.git("symbolic-ref", "HEAD") == "refs/heads/other\n"
        assert repo.git("diff", "--cached", "--name-only") == "file\nuntracked\n"
        for call in (staged, checkout):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
        assert repo.state() == stood


async def test_git_calls_without_an_exact_way_back_say_so(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        path = str(repo.path)
        (repo.path / "file").write_text("two\n")
        repo.git("add", "file")
        (repo.path / "more").write_text("more\n")
        assert await it.refused("git_add", repo_path=path, files=["more"]) == "undo.unavailable"
        calls = [
            await it.done("git_commit", repo_path=path, message="second"),
            await it.done("git_create_branch", repo_path=path, branch_name="third"),
            await it.done("git_reset", repo_path=path),
        ]
        stood = repo.state()
        for call in calls:
            assert (await it.reverted(call))["state"] != "reverted"
        assert repo.state() == stood
        repo.git("checkout", "-q", "--detach")
        refused = await it.refused("git_checkout", repo_path=path, branch_name="main")
        assert refused == "undo.unavailable"


async def test_a_refused_commit_says_why_it_could_not_be_taken_back(tmp_path: Path) -> None:
    careful = POLICY.replace('"irreversible": true', '"irreversible": false')
    async with repository(tmp_path, careful) as (it, repo):
        repo.git("mv", "file", "file2")
        stood = repo.git("for-each-ref")
        result = await it.call("git_commit", repo_path=str(repo.path), message="second")
        assert result["isError"]
        assert "no tool that takes a commit off its branch" in result["content"][0]["text"]
        assert repo.git("for-each-ref") == stood


async def test_a_branch_that_somebody_checked_out_since_stays(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        call = await it.done("git_checkout", repo_path=str(repo.path), branch_name="other")
        repo.git("checkout", "-q", "a-other")
        stood = repo.state()
        assert conflict(await it.reverted(call))
        assert repo.state() == stood
