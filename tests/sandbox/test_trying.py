from __future__ import annotations

import httpx
import pytest

from gateway.sandbox.trying import CannotTry, Sample, Trial, Trials

ANSWERS: dict[str, object] = {
    "/teams": {"teams": [{"id": 3, "slug": "core"}]},
    "/teams/3/members": [{"id": "a/b", "code": "x", "title": "A member"}, {"id": "c"}],
    "/teams/3/members/a%2Fb": {"id": "a/b", "code": "x", "title": "A member"},
    "/empty": [],
    "/codes/7": {"id": "7", "code": "x7"},
    "/numbers/7": {"id": 7, "n": 3},
}


def trials(skip: int = 0) -> Trials:
    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        return httpx.Response(200, json=ANSWERS[path]) if path in ANSWERS else httpx.Response(404)

    client = httpx.AsyncClient(base_url="http://tool", transport=httpx.MockTransport(answer))
    return Trials(client, (), skip=skip)


async def test_ids_come_from_the_listings_above() -> None:
    trial = await trials().trial("DELETE /teams/{team_id}/members/{id}", None)
    assert trial == Trial(
        method="DELETE",
        path="/teams/3/members/a%2Fb",
        body=None,
        watched=("/teams/3/members/a%2Fb", "/teams/3/members"),
    )
    other = await trials(skip=1).trial("DELETE /teams/{team_id}/members/{id}", None)
    assert other.path == "/teams/3/members/c"


async def test_what_stands_there_is_changed_a_little() -> None:
    put = await trials().trial("PUT /teams/{t}/members/{id}", None)
    assert put.body == {"id": "a/b", "code": "x", "title": "A member (rehearsed)"}
    patch = await trials().trial("PATCH /codes/{id}", Sample(params={"id": "7"}))
    assert patch.body == {"code": "x7 (rehearsed)"}


async def test_samples_come_first() -> None:
    given = Sample(params={"id": "x y"}, body={"n": 1})
    trial = await trials().trial("PUT /things/{id}", given)
    assert (trial.path, trial.body) == ("/things/x%20y", {"n": 1})


@pytest.mark.parametrize(
    ("route", "sample"),
    [
        ("DELETE /empty/{id}", None),
        ("DELETE /nowhere/{id}", None),
        ("PATCH /numbers/{id}", Sample(params={"id": "7"})),
        ("PATCH /empty", None),
        ("POST /teams", None),
    ],
)
async def test_what_is_missing_is_said(route: str, sample: Sample | None) -> None:
    with pytest.raises(CannotTry):
        await trials().trial(route, sample)
