from __future__ import annotations

from gateway.upstreams.sql.postgres.replies import Reply
from gateway.upstreams.sql.postgres.results import TypeNames
from tests.fixtures.postgres_case import Case


async def test_values_are_rendered_by_the_name_of_their_type(case: Case) -> None:
    case.setup("CREATE TYPE mood AS ENUM ('sad')")
    query = "SELECT 1::int AS a, 2::bigint AS b, 'sad'::public.mood AS c, ARRAY[1] AS d, NULL::bool"
    async with case.agents.session() as session:
        reply = await session.extended(query, (), max_rows=5, max_bytes=1000)
        shown = await TypeNames().render(session, "select", reply)
    assert [c["type"] for c in shown["columns"]] == [
        "integer", "bigint", "mood", "integer[]", "boolean",
    ]  # fmt: skip
    assert shown["rows"] == [[1, "2", "sad", "{1}", None]]
    assert shown["affected"] == 0


async def test_a_type_is_asked_about_once(case: Case) -> None:
    reply = Reply(
        tag="DELETE 1", affected=1, columns=(("a", 23),), origins=((0, 0),), rows=[(b"7",)]
    )
    types = TypeNames()
    async with case.agents.session() as session:
        first = await types.render(session, "delete", reply)
        await session.close()  # a second question would fail
        assert await types.render(session, "delete", reply) == first
    assert first["affected"] == 1
