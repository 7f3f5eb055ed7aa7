from __future__ import annotations

import logging
from typing import Any

import pytest

from gateway.errors import StoreUnavailable
from tests.surfaces.doubles import ADMIN, AGENT, OTHER, House

SQL = {"sql": "SELECT 1"}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", f"bearer\t{AGENT}")],
        [("Authorization", AGENT)],
        [("Authorization", f"Basic {AGENT}")],
        [("Authorization", f"Bearer {AGENT} {AGENT}")],
        [("Authorization", f"Bearer {AGENT}, Bearer {ADMIN}")],
        [("Authorization", f"Bearer {AGENT}x")],
        [("Authorization", "Bearer " + "x" * 5000)],
        [("Authorization", f"Bearer {AGENT}"), ("Authorization", f"Bearer {AGENT}")],
        [("Authorization", f"Bearer {AGENT}"), ("authorization", f"Bearer {OTHER}")],
    ],
)
async def test_anything_but_one_good_bearer_token_is_unauthenticated(
    home: House, headers: list[tuple[str, str]]
) -> None:
    for method, path in (("POST", "/sql/shop"), ("GET", "/admin/calls"), ("GET", "/calls/x")):
        answer = await home.http.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert home.walk.calls == []


@pytest.mark.parametrize("name", ["token", "access_token", "Token", "api_key", "authorization"])
async def test_a_token_in_the_address_is_refused_even_beside_a_good_one(
    home: House, name: str
) -> None:
    for headers in ({}, {"Authorization": f"Bearer {AGENT}"}):
        answer = await home.http.post(f"/sql/shop?{name}={AGENT}", json=SQL, headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (400, "malformed")


async def test_the_scheme_is_read_whatever_its_case(home: House) -> None:
    answer = await home.http.post(
        "/sql/shop", json=SQL, headers={"Authorization": f"bEARER   {AGENT}"}
    )
    assert answer.status_code == 200


async def test_an_agent_is_not_the_admin(home: House) -> None:
    answer = await home.agent("GET", "/admin/calls")
    assert (answer.status_code, answer.json()["reason"]) == (403, "not_admin")


async def test_a_wrong_token_on_the_admin_side_is_nobody(home: House) -> None:
    answer = await home.agent("GET", "/admin/calls", token="wrong")
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthenticated")


async def test_failed_sign_ins_are_on_record_without_what_was_sent(home: House) -> None:
    await home.agent("GET", "/admin/calls", token="guessed-secret")
    await home.agent("GET", "/admin/calls")
    assert [event for event, _ in home.store.events] == ["identity.refused"] * 2
    assert [body["reason"] for _, body in home.store.events] == ["unauthenticated", "not_admin"]
    assert "guessed-secret" not in str(home.store.events)


async def test_failed_sign_ins_cannot_flood_the_audit_log(home: House) -> None:
    for _ in range(50):
        await home.agent("GET", "/admin/calls", token="wrong")
    assert len(home.store.events) < 10


async def test_an_admin_act_that_cannot_be_recorded_does_not_happen(home: House) -> None:
    home.store.audit_down = True
    answer = await home.admin("POST", "/admin/freezes", json={"scope": {}, "reason": "x"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "audit.unavailable")
    assert home.freezes.known == {}


async def test_who_cannot_be_identified_for_a_store_that_is_down_is_told_so(home: House) -> None:
    async def down(token_sha256: str) -> Any:
        raise StoreUnavailable("down")

    home.store.agent_by_token = down  # type: ignore[method-assign]
    answer = await home.agent("POST", "/sql/shop", token="hf_stored", json=SQL)
    assert (answer.status_code, answer.json()["reason"]) == (503, "store.unavailable")


async def test_a_fault_of_ours_is_logged_without_the_values_it_quotes(
    home: House, caplog: pytest.LogCaptureFixture
) -> None:
    home.walk.answer = lambda call: KeyError("card number 4111")
    with caplog.at_level(logging.ERROR):
        answer = await home.agent("POST", "/sql/shop", json=SQL)
    assert answer.status_code == 500
    assert "KeyError" in caplog.text
    assert answer.json()["call"] in caplog.text
    assert "4111" not in caplog.text + answer.text


async def test_a_fault_before_the_call_began_had_no_effect(home: House) -> None:
    def broken(kind: str) -> str:
        raise RuntimeError("no ids")

    object.__setattr__(home.gateway, "new_id", broken)
    document = (await home.agent("POST", "/sql/shop", json=SQL)).json()
    assert (document["reason"], document["effect"], document["call"]) == ("internal", "none", None)
