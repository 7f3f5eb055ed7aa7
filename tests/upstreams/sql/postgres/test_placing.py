from __future__ import annotations

from pathlib import Path

from tests.fixtures.postgres_case import Case
from tests.upstreams.sql.postgres.test_upstream import _upstream


async def test_a_server_of_this_machine_tells_its_folder_to_those_who_may_know(case: Case) -> None:
    privileged = _upstream(case)
    folder = await privileged.place()
    await privileged.close()
    assert folder is not None
    assert (folder / "PG_VERSION").is_file()

    unprivileged = _upstream(case, capture_url=case.server.url(case.database, "agent"))
    assert await unprivileged.place() is None
    await unprivileged.close()


async def test_a_server_that_cannot_be_reached_has_no_place(case: Case, tmp_path: Path) -> None:
    nowhere = _upstream(case, capture_url=f"postgresql://a@/b?host={tmp_path}")
    assert await nowhere.place() is None
    await nowhere.close()
