from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

import pytest

from gateway.errors import ConfigInvalid, Malformed, StoreUnavailable, Unauthenticated
from gateway.identity import token as tokens
from gateway.identity.token import (
    AdminToken,
    ConfiguredAgent,
    TokenIdentifier,
    new_token,
    token_sha256,
)
from gateway.interfaces import Agent
from tests.fixtures.fakes import START, FakeClock


class Agents:
    def __init__(self, *agents: Agent) -> None:
        self.known = {a.token_sha256: a for a in agents}
        self.asked: list[str] = []
        self.down = False

    async def agent_by_token(self, token_sha256: str) -> Agent | None:
        self.asked.append(token_sha256)
        if self.down:
            raise StoreUnavailable("down")
        return self.known.get(token_sha256)


def stored(name: str, token: str, *, revoked: bool = False) -> Agent:
    return Agent(
        name=name,
        roles=("analyst",),
        token_sha256=token_sha256(token),
        created_at=START,
        revoked_at=START if revoked else None,
    )


def identifier(*agents: Agent, clock: FakeClock | None = None) -> TokenIdentifier:
    known = [
        ConfiguredAgent(name="a7", token="secret-of-a7", roles=("developer",)),
        ConfiguredAgent(name="b8", token="secret-of-b8"),
    ]
    return TokenIdentifier(known, Agents(*agents), clock or FakeClock())


async def test_a_configured_agent_is_told_by_its_token() -> None:
    subject = await identifier().identify("secret-of-a7", "run-1")
    assert (subject.id, subject.roles, subject.session) == ("a7", ("developer",), "run-1")


async def test_a_stored_agent_is_told_by_the_digest_of_its_token() -> None:
    agents = Agents(stored("c9", "hf_c9"))
    subject = await TokenIdentifier([], agents, FakeClock()).identify("hf_c9", None)
    assert (subject.id, subject.roles) == ("c9", ("analyst",))
    assert agents.asked == [hashlib.sha256(b"hf_c9").hexdigest()]


@pytest.mark.parametrize("token", ["", "wrong", "secret-of-a", "secret-of-a77", "x" * 10_000, "é"])
async def test_an_unknown_token_is_nobody(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await identifier().identify(token, None)


async def test_a_revoked_agent_is_nobody() -> None:
    with pytest.raises(Unauthenticated):
        await identifier(stored("c9", "hf_c9", revoked=True)).identify("hf_c9", None)


@pytest.mark.parametrize("name", ["a7", "admin"])
async def test_a_stored_agent_cannot_borrow_a_configured_name(name: str) -> None:
    with pytest.raises(Unauthenticated):
        await identifier(stored(name, "hf_x")).identify("hf_x", None)


async def test_a_store_that_is_down_lets_nobody_in_by_guess() -> None:
    agents = Agents(stored("c9", "hf_c9"))
    agents.down = True
    with pytest.raises(StoreUnavailable):
        await TokenIdentifier([], agents, FakeClock()).identify("hf_c9", None)


async def test_every_configured_agent_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []
    real = hmac.compare_digest

    def counting(a: str, b: str) -> bool:
        compared.append(a)
        return real(a, b)

    monkeypatch.setattr(tokens.hmac, "compare_digest", counting)
    known = identifier()
    await known.identify("secret-of-a7", None)
    assert compared == [token_sha256("secret-of-a7"), token_sha256("secret-of-b8")]


async def test_without_a_session_there_is_one_per_agent_and_day() -> None:
    clock = FakeClock(datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC))
    known = identifier(clock=clock)
    assert (await known.identify("secret-of-a7", None)).session == "a7:2026-03-02"
    clock.advance(seconds=2)
    assert (await known.identify("secret-of-a7", None)).session == "a7:2026-03-03"


@pytest.mark.parametrize("session", ["", "x" * 129, "a b", "a/b", "a\nb", "ä", "a\0"])
async def test_a_session_that_is_no_name_is_refused(session: str) -> None:
    with pytest.raises(Malformed):
        await identifier().identify("secret-of-a7", session)


@pytest.mark.parametrize("session", ["x", "x" * 128, "A.b_c:d-9"])
async def test_a_session_name_is_taken_as_it_is(session: str) -> None:
    assert (await identifier().identify("secret-of-a7", session)).session == session


@pytest.mark.parametrize(
    "agents",
    [
        [("admin", "t1")],
        [("a", "t1"), ("a", "t2")],
        [("a", "t1"), ("b", "t1")],
        [("a", "")],
    ],
)
def test_an_agent_list_that_leaves_open_who_calls_does_not_start(
    agents: list[tuple[str, str]],
) -> None:
    with pytest.raises(ConfigInvalid):
        TokenIdentifier(
            [ConfiguredAgent(name=n, token=t) for n, t in agents], Agents(), FakeClock()
        )


def test_clear_tokens_are_kept_nowhere() -> None:
    agent = ConfiguredAgent(name="a7", token="secret-of-a7")
    assert "secret" not in repr(agent)
    known = TokenIdentifier([agent], Agents(), FakeClock())
    assert "secret-of-a7" not in repr(vars(known))
    assert "root-secret" not in repr(vars(AdminToken("root-secret")))


def test_new_tokens_differ_and_can_stand_in_a_header() -> None:
    made = {new_token() for _ in range(100)}
    assert len(made) == 100
    assert all(t.startswith("hf_") and t.isascii() and len(t) >= 43 for t in made)


def test_the_admin_token_matches_itself_alone() -> None:
    admin = AdminToken("root-secret")
    assert admin.matches("root-secret")
    assert not any(admin.matches(t) for t in ("", "root-secre", "root-secret ", "Root-secret"))


def test_an_empty_admin_token_does_not_start() -> None:
    with pytest.raises(ConfigInvalid):
        AdminToken("")
