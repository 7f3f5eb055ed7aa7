"""Sequences that were set back are found and mended; others stay as they are."""

from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.setbacks import set_back, standings
from tests.fixtures.postgres_case import Case


@pytest.mark.parametrize(
    ("step", "moved", "value", "called", "mended"),
    [
        (1, "setval('s', 5)", 50, True, True),
        (1, "setval('s', 50, false)", 50, True, True),
        (1, "setval('s', 70)", 70, True, False),
        (1, "nextval('s')", 51, True, False),
        (-1, "setval('s', -5)", -50, True, True),
        (-1, "setval('s', -70)", -70, True, False),
    ],
)
async def test_only_what_went_back_is_mended(
    case: Case, step: int, moved: str, value: int, called: bool, mended: bool
) -> None:
    case.setup(f"CREATE SEQUENCE s INCREMENT {step}; SELECT setval('s', {50 * step})")
    async with case.peers.session() as peer:
        before = await standings(peer)
        case.admin.execute(f"SELECT {moved}".encode())
        said = await set_back(peer, before, ["public.s", "public.unknown"])

    assert (said is not None) is mended
    assert said is None or "public.s was set back" in said
    found = case.admin.execute("SELECT last_value, is_called FROM s").fetchone()
    assert found == (value, called)


async def test_a_role_that_may_not_set_it_says_what_is_missing(case: Case) -> None:
    case.setup("CREATE SEQUENCE s; SELECT setval('s', 50)")
    case.admin.execute("REVOKE ALL ON SEQUENCE s FROM agent; GRANT SELECT ON SEQUENCE s TO agent")
    async with case.agents.session() as reader:
        before = await standings(reader)
        case.admin.execute("SELECT setval('s', 5)")
        said = await set_back(reader, before, ["public.s"])

    assert said is not None
    assert 'needs UPDATE ON SEQUENCE "public"."s"' in said
