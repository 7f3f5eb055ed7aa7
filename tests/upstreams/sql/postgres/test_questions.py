"""Several catalog queries as one."""

from __future__ import annotations

from gateway.upstreams.sql.postgres.questions import Question, answers, as_one
from tests.fixtures.postgres_case import Case

_QUESTIONS = (
    Question(text="SELECT g, g % %(by)s = 0 FROM generate_series(5, 1, -2) g ORDER BY g", width=2),
    Question(text="SELECT 1, 2 WHERE false", width=2),
    Question(
        text="SELECT 'a \"b\\c', NULL, ARRAY['x', NULL], (1::int8 << 40), %(by)s::int", width=5
    ),
)


async def test_each_is_answered_as_it_would_be_alone(case: Case) -> None:
    questions = [
        Question(text=q.text.replace("g % %(by)s", "g %% %(by)s::int"), width=q.width)
        for q in _QUESTIONS
    ]
    async with case.peers.session() as session:
        together = answers(await session.one(as_one(questions), by=3))
        alone = [await session.rows(q.text, by=3) for q in questions]
    assert together == alone
    assert together[0] == [(1, False), (3, True), (5, False)]
    assert together[1] == []
