from __future__ import annotations

from gateway.upstreams.sql.postgres.checks import capture_findings, may_switch_triggers_off
from tests.fixtures.postgres_case import Case


async def test_a_superuser_captures_and_reverts_everything(case: Case) -> None:
    async with case.peers.session() as session:
        assert await capture_findings(session, "source app") == []
        assert await may_switch_triggers_off(session)
        assert session.idle


async def test_a_plain_role_is_told_what_it_lacks(case: Case) -> None:
    async with case.agents.session() as session:
        findings = await capture_findings(session, "source app")
        assert not await may_switch_triggers_off(session)
        assert session.idle
    said = " ".join(f.message for f in findings)
    for missing in ("BYPASSRLS", "pg_read_all_data", "session_replication_role"):
        assert missing in said
    assert {f.about for f in findings} == {"source app"}
    assert "error" not in {f.level for f in findings}


async def test_a_role_without_temporary_tables_cannot_revert(case: Case) -> None:
    case.admin.execute(f"REVOKE TEMPORARY ON DATABASE {case.database} FROM PUBLIC")
    try:
        async with case.agents.session() as session:
            findings = await capture_findings(session, "source app")
    finally:
        case.admin.execute(f"GRANT TEMPORARY ON DATABASE {case.database} TO PUBLIC")
    assert any("TEMPORARY" in f.message for f in findings)
