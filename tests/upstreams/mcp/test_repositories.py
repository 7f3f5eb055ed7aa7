from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.upstreams.mcp import repositories
from gateway.upstreams.mcp.repositories import TOOLS, Repositories
from gateway.upstreams.remote.transport import Answer

ENVIRON = {"PATH": os.environ["PATH"], "GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere"}
_WHO = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")


def git(path: Path, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(path), "GIT_CONFIG_NOSYSTEM": "1"}
    environ |= {f"GIT_{name}": "somebody" for name in _WHO}
    command = ("git", *arguments)
    done = subprocess.run(
        command, cwd=path, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    it = (tmp_path / "repository").resolve()
    it.mkdir()
    git(it, "init", "-q", "-b", "main")
    (it / "file").write_text("one\n")
    git(it, "add", "file")
    git(it, "commit", "-q", "-m", "first")
    git(it, "branch", "other")
    (it / "file").write_text("two\n")
    git(it, "add", "file")
    git(it, "commit", "-q", "-m", "second")
    return it


async def ask(path: Path, tool: str, **arguments: Any) -> Answer:
    given = {name.removesuffix("_"): value for name, value in arguments.items()}
    return await Repositories(ENVIRON).ask(tool, {"repo_path": str(path), **given})


def everything(path: Path) -> tuple[str, ...]:
    return (
        (path / ".git" / "HEAD").read_text(),
        git(path, "for-each-ref"),
        git(path, "ls-files", "-s"),
        git(path, "status", "--porcelain=v2"),
    )


async def refused(path: Path, tool: str, **arguments: Any) -> str:
    """Why; and that nothing has changed."""
    stood = everything(path)
    answer = await ask(path, tool, **arguments)
    assert answer.failed
    assert answer.proves_no_effect
    assert everything(path) == stood
    return str(answer.view["text"])


async def test_the_state_is_what_git_says(path: Path) -> None:
    (path / "file").write_text("three\n")
    git(path, "add", "file")
    answer = await ask(path, "state")
    assert not answer.failed
    assert answer.view == {
        "ref": "refs/heads/main",
        "commit": git(path, "rev-parse", "HEAD"),
        "head_tree": git(path, "rev-parse", "HEAD^{tree}"),
        "tree": git(path, "write-tree"),
        "merging": False,
    }


async def test_a_branch_is_what_git_says_and_starts_where_it_would_be_made(path: Path) -> None:
    main, other = git(path, "rev-parse", "main"), git(path, "rev-parse", "other")
    git(path, "tag", "other", "main")
    new = (await ask(path, "branch", branch="new", base="other")).view
    assert new == {"ref": "refs/heads/new", "commit": "", "start": other, "checked_out": False}
    there = (await ask(path, "branch", branch="main", base="")).view
    assert there == {"ref": "refs/heads/main", "commit": main, "start": main, "checked_out": True}


async def test_a_commit_is_taken_back_once_and_what_it_held_is_staged(path: Path) -> None:
    first, second = git(path, "rev-parse", "other"), git(path, "rev-parse", "main")
    back = {"ref": "refs/heads/main", "to": first, "from": second}
    for _ in range(2):
        assert not (await ask(path, "move_head", **back)).failed
        assert git(path, "rev-parse", "HEAD") == first
        assert git(path, "diff", "--cached", "--name-only") == "file"
    git(path, "commit", "-q", "-m", "another")
    await refused(path, "move_head", **back)
    git(path, "checkout", "-q", "other")
    assert "another branch" in await refused(path, "move_head", **back)


async def test_a_branch_goes_only_where_it_was_made_and_nobody_is_on_it(path: Path) -> None:
    first, second = git(path, "rev-parse", "other"), git(path, "rev-parse", "main")
    await refused(path, "remove_branch", branch="other", from_=second)
    assert "checked out" in await refused(path, "remove_branch", branch="main", from_=second)
    git(path, "worktree", "add", "-q", str(path.parent / "tree"), "other")
    assert "checked out" in await refused(path, "remove_branch", branch="other", from_=first)
    git(path, "worktree", "remove", str(path.parent / "tree"))
    for _ in range(2):
        assert not (await ask(path, "remove_branch", branch="other", from_=first)).failed
        assert git(path, "for-each-ref", "refs/heads/other") == ""
    git(path, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    assert "stands for" in await refused(path, "remove_branch", branch="alias", from_=second)


async def test_the_index_is_put_back_unless_it_holds_something_else(path: Path) -> None:
    before = git(path, "rev-parse", "other^{tree}")
    head = git(path, "rev-parse", "HEAD^{tree}")
    mode = (path / ".git" / "index").stat().st_mode
    for _ in range(2):
        assert not (await ask(path, "stage", to=before, from_=head)).failed
        assert git(path, "write-tree") == before
    assert (path / "file").read_text() == "two\n"
    assert (path / ".git" / "index").stat().st_mode == mode
    (path / "more").write_text("more\n")
    git(path, "add", "more")
    now = git(path, "write-tree")
    assert "something else" in await refused(path, "stage", to=before, from_=head)
    lock = path / ".git" / "index.lock"
    lock.touch()
    assert "locked" in await refused(path, "stage", to=head, from_=now)
    assert lock.exists()
    lock.unlink()
    assert not [name for name in os.listdir(path / ".git") if name.startswith("holdfast-")]


@pytest.mark.parametrize(
    "command",
    [
        ("add", "--intent-to-add", "empty"),
        ("update-index", "--assume-unchanged", "file"),
        ("update-index", "--skip-worktree", "file"),
        ("rm", "-q", "--cached", "file"),
    ],
)
async def test_an_index_that_no_tree_can_hold_is_refused(
    path: Path, command: tuple[str, ...]
) -> None:
    (path / "empty").touch()
    git(path, *command)
    answer = await ask(path, "state")
    assert answer.failed is (command[0] != "rm")


async def test_an_index_with_conflicts_is_refused(path: Path) -> None:
    git(path, "checkout", "-q", "other")
    (path / "file").write_text("other\n")
    git(path, "commit", "-q", "-a", "-m", "mine")
    with pytest.raises(subprocess.CalledProcessError):
        git(path, "merge", "main")
    assert "conflicts" in await refused(path, "state")
    git(path, "add", "file")
    assert (await ask(path, "state")).view["merging"] is True


async def test_nothing_that_the_repository_names_is_run(path: Path) -> None:
    ran = path.parent / "ran"
    program = path / ".git" / "hooks" / "reference-transaction"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\necho ran >> {ran}\n")
    program.chmod(0o755)
    program.with_name("post-index-change").write_bytes(program.read_bytes())
    program.with_name("post-index-change").chmod(0o755)
    git(path, "branch", "third")
    assert ran.exists()  # as git does by itself
    first, second = git(path, "rev-parse", "other"), git(path, "rev-parse", "main")
    tree = git(path, "rev-parse", "other^{tree}")
    git(path, "config", "core.fsmonitor", str(program))
    ran.unlink()
    git(path, "status")
    assert ran.exists()
    ran.unlink()
    answers = [
        await ask(path, "state"),
        await ask(path, "stage", to=tree, from_=""),
        await ask(path, "remove_branch", branch="third", from_=second),
        await ask(path, "move_head", ref="refs/heads/main", to=first, from_=second),
    ]
    assert not any(answer.failed for answer in answers), answers
    assert not ran.exists()
    assert git(path, "rev-parse", "main") == first


@pytest.mark.parametrize(
    ("tool", "wrong"),
    [
        ("branch", {"branch": "--help", "base": ""}),
        ("branch", {"branch": "a..b", "base": ""}),
        ("branch", {"branch": "refs/heads/a", "base": ""}),
        ("branch", {"branch": 7, "base": ""}),
        ("branch", {"branch": "a\0b", "base": ""}),
        ("move_head", {"ref": "refs/heads/main", "to": "", "from_": "--stdin"}),
        ("move_head", {"ref": "refs/heads/main", "to": "other", "from_": "0" * 40}),
        ("stage", {"to": "main", "from_": ""}),
        ("stage", {"to": "0" * 40, "from_": ""}),
    ],
)
async def test_arguments_are_never_options_or_other_names(
    path: Path, tool: str, wrong: dict[str, Any]
) -> None:
    assert await refused(path, tool, **wrong) != ""


async def test_only_a_repository_that_the_server_may_use_is_opened(path: Path) -> None:
    inner = path / "inner"
    inner.mkdir()
    for folder in ("relative", str(inner), str(path / "file"), str(path.parent)):
        answer = await Repositories(ENVIRON).ask("state", {"repo_path": folder})
        assert answer.failed, folder
    link = path.parent / "link"
    link.symlink_to(path)
    within = Repositories(ENVIRON, inner)  # the tree that the named folder is in
    assert not (await within.ask("state", {"repo_path": str(link)})).failed
    strange = path.parent / "strange"
    strange.mkdir()
    git(strange, "init", "-q")
    answer = await within.ask("state", {"repo_path": str(strange)})
    assert "outside" in str(answer.view["text"])


async def test_without_git_or_an_answer_of_it_the_end_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Repositories({"PATH": str(path)})
    assert "cannot be run" in str((await bare.ask("state", {"repo_path": str(path)})).view["text"])
    monkeypatch.setattr(repositories, "TIMEOUT_S", 0.0)
    answer = await ask(path, "state")
    assert (answer.failed, answer.proves_no_effect) == (True, False)


def test_every_tool_says_what_it_takes() -> None:
    assert all("repo_path" in names for names in TOOLS.values())
