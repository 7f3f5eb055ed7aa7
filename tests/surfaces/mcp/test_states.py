from __future__ import annotations

import pytest

from gateway.interfaces.mcp import McpFault
from gateway.surfaces.mcp.states import Seal, digest_of_request

DIGEST = digest_of_request("tools/call", "", {"name": "a", "arguments": {"x": 1}})


def test_a_state_opens_for_its_owner_and_request() -> None:
    seal = Seal()
    name, state = seal.seal(owner="a7", digest=DIGEST, ttl_s=60)
    opened = seal.open(state, owner="a7", digest=DIGEST)
    assert (opened.name, opened.earlier) == (name, False)


def test_what_comes_with_the_answers_does_not_change_the_digest() -> None:
    params = {"name": "a", "arguments": {"x": 1}, "_meta": {"a": 1}, "requestState": "s"}
    assert digest_of_request("tools/call", "", {**params, "inputResponses": {}}) == DIGEST
    assert digest_of_request("tools/call", "notes", params) != DIGEST
    assert digest_of_request("prompts/get", "", params) != DIGEST


def test_every_changed_letter_is_noticed() -> None:
    seal = Seal()
    _, state = seal.seal(owner="a7", digest=DIGEST, ttl_s=60)
    for place in range(len(state)):
        other = state[:place] + ("A" if state[place] != "A" else "B") + state[place + 1 :]
        with pytest.raises(McpFault):
            seal.open(other, owner="a7", digest=DIGEST)


@pytest.mark.parametrize(("owner", "ttl"), [("b8", 60), ("a7", -1)])
def test_a_state_of_somebody_else_or_of_yesterday_is_refused(owner: str, ttl: float) -> None:
    seal = Seal()
    _, state = seal.seal(owner="a7", digest=DIGEST, ttl_s=ttl)
    with pytest.raises(McpFault):
        seal.open(state, owner=owner, digest=DIGEST)


def test_another_process_knows_no_state_of_this_one() -> None:
    _, state = Seal().seal(owner="a7", digest=DIGEST, ttl_s=60)
    with pytest.raises(McpFault):
        Seal().open(state, owner="a7", digest=DIGEST)


@pytest.mark.parametrize("ttl", [60, -1])
def test_a_later_process_with_the_same_key_knows_which_call_it_was(ttl: float) -> None:
    key = b"k" * 32
    _, state = Seal(key).seal(owner="a7", digest=DIGEST, ttl_s=ttl, call="call_1")
    opened = Seal(key).open(state, owner="a7", digest=DIGEST)
    assert (opened.call, opened.earlier) == ("call_1", True)
    with pytest.raises(McpFault):
        Seal(key).open(state, owner="b8", digest=DIGEST)
