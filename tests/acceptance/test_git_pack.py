"""The pack of mcp-server-git against that server: every change comes back, and nobody's is lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.mcp.house import POLICY, current
from tests.fixtures.mcp.programs import client_python
from tests.fixtures.mcp.served import Served, conflict, served, tree, whole

Json = dict[str, Any]
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

    def exactly(self) -> tuple[object, ...]:
        """All that a call could change: HEAD, references, index, status and every file."""
        return (
            (self.path / ".git" / "HEAD").read_text(),
            self.git("for-each-ref"),
            self.git("ls-files", "--stage"),
            self.git("status", "--porcelain=v2", "--branch"),
            {name: data for name, data in tree(self.path).items() if not name.startswith(".git")},
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


async def test_every_change_of_a_repository_comes_back(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        path = str(repo.path)
        (repo.path / "file").write_text("two\n")
        repo.git("add", "file")
        (repo.path / "file").write_text("three\n")
        (repo.path / "more").write_text("more\n")
        stood = [repo.exactly()]
        calls = []
        for tool, arguments in (
            ("git_add", {"files": ["more"]}),
            ("git_commit", {"message": "second"}),
            ("git_create_branch", {"branch_name": "third"}),
            ("git_create_branch", {"branch_name": "a/fourth", "base_branch": "other"}),
            ("git_add", {"files": ["file"]}),
            ("git_reset", {}),
        ):
            calls.append(await it.done(tool, repo_path=path, **arguments))
            stood.append(repo.exactly())
        assert all(one != other for one, other in pairwise(stood))
        assert repo.git("show", "HEAD:file") == "two\n"
        assert repo.git("rev-parse", "a/fourth") == repo.git("rev-parse", "other")
        for call, before in zip(reversed(calls), reversed(stood[:-1]), strict=True):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
            assert repo.exactly() == before
        assert "third" not in repo.git("reflog", "--all")


async def test_the_first_commit_and_one_off_all_branches_come_back(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        for prepare in (("checkout", "--detach"), ("checkout", "--orphan", "fresh")):
            repo.git(*prepare)
            (repo.path / "new").write_text(prepare[1])
            repo.git("add", "new")
            stood = repo.exactly()
            call = await it.done("git_commit", repo_path=str(repo.path), message="another")
            assert repo.exactly() != stood
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
            assert repo.exactly() == stood


@pytest.mark.parametrize(
    ("tool", "arguments", "since"),
    [
        ("git_commit", {"message": "second"}, [("commit", "--allow-empty", "-q", "-m", "mine")]),
        ("git_commit", {"message": "second"}, [("checkout", "-q", "other")]),
        ("git_commit", {"message": "second"}, [("add", "more")]),
        ("git_create_branch", {"branch_name": "third"}, [("checkout", "-q", "third")]),
        ("git_create_branch", {"branch_name": "third"}, [("branch", "-f", "third", "moved")]),
        ("git_create_branch", {"branch_name": "third"}, [("worktree", "add", "../w", "third")]),
        ("git_reset", {}, [("add", "more")]),
        ("git_add", {"files": ["more"]}, [("rm", "-q", "--cached", "more")]),
        ("git_add", {"files": ["more"]}, [("commit", "-q", "-m", "mine")]),
    ],
)
async def test_what_somebody_did_in_a_repository_since_stays(
    tmp_path: Path, tool: str, arguments: Json, since: list[tuple[str, ...]]
) -> None:
    async with repository(tmp_path) as (it, repo):
        moved = repo.git("commit-tree", "-m", "moved", "HEAD^{tree}").strip()
        repo.git("tag", "moved", moved)
        (repo.path / "staged").write_text("two\n")
        repo.git("add", "staged")
        (repo.path / "more").write_text("more\n")
        call = await it.done(tool, repo_path=str(repo.path), **arguments)
        for command in since:
            repo.git(*command)
        stood = repo.exactly()
        outcome = await it.reverted(call)
        assert conflict(outcome), outcome
        assert repo.exactly() == stood


async def test_git_calls_without_an_exact_way_back_are_not_done(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        path = str(repo.path)
        (repo.path / "file").write_text("two\n")
        (repo.path / "more").write_text("more\n")
        repo.git("add", "--intent-to-add", "more")
        refused = await it.refused("git_add", repo_path=path, files=["file"])
        assert refused == "undo.unavailable"
        repo.git("add", ".")
        (repo.path / ".git" / "MERGE_HEAD").write_text(repo.git("rev-parse", "other"))
        stood = repo.exactly()
        assert await it.refused("git_commit", repo_path=path, message="x") == "undo.unavailable"
        assert repo.exactly() == stood
        (repo.path / ".git" / "MERGE_HEAD").unlink()
        repo.git("commit", "-q", "-m", "second")
        repo.git("checkout", "-q", "--detach")
        repo.git("branch", repo.git("rev-parse", "HEAD").strip())
        refused = await it.refused("git_checkout", repo_path=path, branch_name="main")
        assert refused == "undo.unavailable"


async def test_agents_do_not_see_the_companion(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        async with it.house.client() as agent:
            listed = (await current(agent, "/mcp/it", "tools/list")).json()["result"]["tools"]
        assert not {"state", "branch", "move_head", "remove_branch", "stage"} & {
            tool["name"] for tool in listed
        }
        async with it.house.client() as agent:
            params = {"name": "state", "arguments": {"repo_path": str(repo.path)}}
            for method in ("tools/call", "companion"):
                answer = (await current(agent, "/mcp/it", method, params)).json()
                assert "head_tree" not in json.dumps(answer)
                assert "error" in answer or answer["result"]["isError"], answer


async def test_a_branch_that_somebody_checked_out_since_stays(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        call = await it.done("git_checkout", repo_path=str(repo.path), branch_name="other")
        repo.git("checkout", "-q", "a-other")
        stood = repo.state()
        assert conflict(await it.reverted(call))
        assert repo.state() == stood


async def test_every_change_comes_back_and_is_brought_again(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        path = str(repo.path)
        (repo.path / "file").write_text("two\n")
        stood = [repo.exactly()]
        calls = []
        for tool, arguments in (
            ("git_add", {"files": ["file"]}),
            ("git_commit", {"message": "second"}),
            ("git_create_branch", {"branch_name": "third"}),
            ("git_checkout", {"branch_name": "third"}),
        ):
            calls.append(await it.done(tool, repo_path=path, **arguments))
            stood.append(repo.exactly())
        (repo.path / "file").write_text("two\n")  # as committed
        for _ in range(2):
            for place in range(len(calls) - 1, -1, -1):
                outcome = await it.reverted(calls[place])
                assert whole(outcome), outcome
                assert repo.exactly() == stood[place]
                calls[place] = (await it.record(calls[place]))["reverted_by"]
            for place in range(len(calls)):
                outcome = await it.reverted(calls[place])
                assert whole(outcome), outcome
                assert repo.exactly() == stood[place + 1]
                calls[place] = (await it.record(calls[place]))["reverted_by"]


async def test_a_detached_head_is_detached_again_where_it_stood(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        path = str(repo.path)
        (repo.path / "file").write_text("two\n")
        repo.git("commit", "-q", "-a", "-m", "second")
        repo.git("tag", "v1", "other")
        repo.git("checkout", "-q", "--detach", "HEAD~1")
        stood = repo.exactly()
        call = await it.done("git_checkout", repo_path=path, branch_name="main")
        left = repo.exactly()
        assert (repo.path / ".git" / "HEAD").read_text() == "ref: refs/heads/main\n"
        for expected in (stood, left, stood):
            outcome = await it.reverted(call)
            assert whole(outcome), outcome
            assert repo.exactly() == expected
            call = (await it.record(call))["reverted_by"]
        tagged = await it.done("git_checkout", repo_path=path, branch_name="v1")
        assert whole(await it.reverted(tagged))
        assert repo.exactly() == stood


async def test_a_branch_without_commits_is_not_left(tmp_path: Path) -> None:
    async with repository(tmp_path) as (it, repo):
        repo.git("checkout", "-q", "--orphan", "fresh")
        stood = repo.exactly()
        refusal = await it.refused("git_checkout", repo_path=str(repo.path), branch_name="main")
        assert refusal == "undo.unavailable"
        assert repo.exactly() == stood
