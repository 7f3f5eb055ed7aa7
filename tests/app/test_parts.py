from __future__ import annotations

from pathlib import Path

from gateway.app import assemble, new_id
from gateway.config import parse
from gateway.policy.opa import OpaPolicy
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from gateway.upstreams.sql.sqlite.upstream import SqliteUpstream
from tests.fixtures.serving import environment

TEXT = """
identity: {admin_token: "${HOLDFAST_ADMIN_TOKEN}"}
policy: {engine: opa, url: "http://127.0.0.1:1"}
sources:
  file: {url: "sqlite:///a.db"}
  server: {url: "postgresql://agent@127.0.0.1/app"}
freezes:
  - {name: always, cron: "* * * * *", duration: 1h, scope: {sources: [file]}}
"""


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_id("call") for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(id.startswith("call_") for id in ids)
    assert ids[0][:15] <= ids[-1][:15]


def test_each_part_is_the_one_that_the_configuration_names(tmp_path: Path) -> None:
    parts = assemble(parse(TEXT, environment(tmp_path), file="x.yaml"))
    assert isinstance(parts.policy, OpaPolicy)
    assert isinstance(parts.sources["file"], SqliteUpstream)
    assert isinstance(parts.sources["server"], PostgresUpstream)
    [window] = parts.windows.active(parts.clock.now())
    assert window.scope.sources == ("file",)
