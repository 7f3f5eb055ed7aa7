from __future__ import annotations

import pytest

from gateway.cli.remote import Usage
from gateway.cli.shell import Shell


def test_the_remote_is_closed_after_use() -> None:
    shell = Shell(environ={"HOLDFAST_ADMIN_TOKEN": "adm-3f9c1e7a5b2d4860"})
    with shell.remote() as remote:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        remote.get("/admin/calls")


def test_there_is_no_remote_without_a_token() -> None:
    with pytest.raises(Usage), Shell(environ={}).remote():
        pass
