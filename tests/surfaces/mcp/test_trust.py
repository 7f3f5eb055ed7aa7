"""What a hostile client or server tries, through a real socket (trust: 62 to 86)."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.mcp.house import (
    CURRENT,
    House,
    Legacy,
    current,
    house,
    messages,
    meta,
    request,
)

UNRULY = {
    "command": [sys.executable, "-m", "tests.fixtures.mcp.unruly"],
    "tools": {"act": {"class": "write"}},
}
NOTES = {
    "tools": {
        "*": {"class": "read"},
        "delete_note": {
            "class": "destructive",
            "before": {"tool": "read_note", "arguments": {"id": "$arguments.id"}},
            "undo": {
                "tool": "write_note",
                "arguments": {"id": "$arguments.id", "text": "$before.text"},
            },
            "error_means_no_effect": True,
        },
    },
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("trust")
    command = ["python", "-m", "gateway.demo.notes", f"{folder}/notes.db"]
    notes = {**NOTES, "command": command}
    async with house(folder, {"unruly": UNRULY, "slow": UNRULY, "notes": notes}) as found:
        yield found


pytestmark = pytest.mark.asyncio(loop_scope="module")


def call(arguments: str, extra: str = "", id: str = "1") -> str:
    """A ``tools/call`` of the current era with ``arguments`` as they are written."""
    return (
        f'{{"jsonrpc":"2.0","id":{id},"method":"tools/call",'
        f'"params":{{"name":"act","arguments":{arguments},"_meta":{json.dumps(meta())}{extra}}}}}'
    )


HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": CURRENT,
    "Mcp-Method": "tools/call",
    "Mcp-Name": "act",
}
GOOD = '{"what":"hello"}'
DEEP = "[" * 100_000

BODIES: list[tuple[str, bytes, int]] = [
    ("62 a key twice", call('{"what":"a","what":"b"}').encode(), -32700),
    ("62 a key twice, once escaped", call('{"what":"a","\\u0077hat":"b"}').encode(), -32700),
    ("62 the name twice", call(GOOD, ',"name":"act"').encode(), -32700),
    ("63 NaN", call('{"what":NaN}').encode(), -32700),
    ("63 Infinity", call('{"what":Infinity}').encode(), -32700),
    ("63 1e400", call('{"what":1e400}').encode(), -32700),
    ("64 beyond 64 bit", call('{"what":"a","count":9223372036854775808}').encode(), -32700),
    ("64 beyond a double", call('{"what":1.0000000000000000001}').encode(), -32700),
    ("65 half of a pair", call('{"what":"\\ud800"}').encode(), -32700),
    ("65 not UTF-8", call('{"what":"?"}').encode().replace(b"?", b"\xff"), -32700),
    ("65 a byte order mark", b"\xef\xbb\xbf" + call(GOOD).encode(), -32700),
    ("65 UTF-16", call(GOOD).encode("utf-16"), -32700),
    ("65 UTF-32", call(GOOD).encode("utf-32"), -32700),
    ("66 too deep", call('{"what":' + "[" * 70 + "]" * 70 + "}").encode(), -32700),
    ("66 100k brackets", DEEP.encode(), -32700),
    ("67 5,000 digits", call('{"what":"a","count":' + "9" * 5000 + "}").encode(), -32700),
    ("68 trailing bytes", call(GOOD).encode() + b"x", -32700),
    ("68 two documents", call(GOOD).encode() * 2, -32700),
    ("68 NUL", call(GOOD).encode() + b"\0", -32700),
    ("69 a key in two cases", call('{"what":"a","What":"b"}').encode(), -32700),
    ("69 a key in two forms", call('{"params":"a","param\u017f":"b"}').encode(), -32700),
    ("70 __proto__", call('{"what":"a","__proto__":{}}').encode(), -32700),
    ("70 20k keys", ("{" + ",".join(f'"k{n}":1' for n in range(20_000)) + "}").encode(), -32700),
    ("71 a batch", f"[{call(GOOD)}]".encode(), -32600),
    ("72 a null id", call(GOOD, id="null").encode(), -32600),
    ("72 a float id", call(GOOD, id="1.5").encode(), -32600),
    ("72 a bool id", call(GOOD, id="true").encode(), -32600),
    ("72 an object id", call(GOOD, id="{}").encode(), -32600),
    ("81 a number for a text", call('{"what":7}').encode(), -32602),
    ("81 a text for a number", call('{"what":"a","count":"7"}').encode(), -32602),
    ("81 an argument too many", call('{"what":"a","more":1}').encode(), -32602),
    ("81 an argument too few", call("{}").encode(), -32602),
    ("81 arguments that are a list", call('["a"]').encode(), -32602),
]


@pytest.mark.parametrize(("what", "body", "code"), BODIES, ids=[b[0] for b in BODIES])
async def test_a_body_with_two_meanings_is_refused(
    home: House, what: str, body: bytes, code: int
) -> None:
    async with home.client() as client:
        began = time.perf_counter()
        answer = await client.post("/mcp/unruly", content=body, headers=HEADERS)
        assert time.perf_counter() - began < 5
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


async def test_one_key_of_a_mebibyte_is_refused(home: House) -> None:
    body = ('{"' + "k" * 1_048_576 + '":1}').encode()
    async with home.client() as client:
        answer = await client.post("/mcp/unruly", content=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


async def test_the_good_body_that_the_bad_ones_are_made_of_is_accepted(home: House) -> None:
    async with home.client() as client:
        answer = await client.post("/mcp/unruly", content=call(GOOD), headers=HEADERS)
    assert answer.status_code == 200
    assert answer.json()["result"]["content"][0]["text"] == "hello"


MISMATCHES: list[tuple[str, dict[str, str | None], int]] = [
    ("73 another method", {"Mcp-Method": "tools/list"}, -32020),
    ("73 another name", {"Mcp-Name": "other"}, -32020),
    ("73 another version", {"MCP-Protocol-Version": "2025-11-25"}, -32020),
    ("73 no method", {"Mcp-Method": None}, -32020),
    ("73 no name", {"Mcp-Name": None}, -32020),
    ("74 a sentinel of another name", {"Mcp-Name": "=?base64?b3RoZXI=?="}, -32020),
    ("74 a sentinel that is no base64", {"Mcp-Name": "=?base64?act?="}, -32020),
    ("74 a sentinel that is not canonical", {"Mcp-Name": "=?base64?YWN0==?="}, -32020),
    ("75 no version", {"MCP-Protocol-Version": None}, -32020),
    ("75 an unknown version", {"MCP-Protocol-Version": "2031-01-01"}, -32020),
]


@pytest.mark.parametrize(("what", "headers", "code"), MISMATCHES, ids=[m[0] for m in MISMATCHES])
async def test_headers_that_say_something_else_than_the_body_are_refused(
    home: House, what: str, headers: dict[str, str | None], code: int
) -> None:
    sent = {k: v for k, v in {**HEADERS, **headers}.items() if v is not None}
    async with home.client() as client:
        answer = await client.post("/mcp/unruly", content=call(GOOD), headers=sent)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


async def test_a_header_twice_is_refused(home: House) -> None:
    headers = [*HEADERS.items(), ("Mcp-Name", "act")]
    async with home.client() as client:
        answer = await client.post("/mcp/unruly", content=call(GOOD), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_name_in_base64_is_decoded_before_it_is_compared(home: House) -> None:
    sent = {**HEADERS, "Mcp-Name": "=?base64?YWN0?="}
    async with home.client() as client:
        answer = await client.post("/mcp/unruly", content=call(GOOD), headers=sent)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/mcp/unruly"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize(
    ("header", "value", "status", "reason"),
    [
        ("Host", "evil.example", 421, "host.refused"),
        ("Host", "localhost.evil.example", 421, "host.refused"),
        ("Origin", "https://evil.example", 403, "origin.refused"),
        ("Origin", "null", 403, "origin.refused"),
    ],
)
async def test_a_page_that_found_its_way_here_is_refused(
    home: House, path: str, method: str, header: str, value: str, status: int, reason: str
) -> None:
    async with home.client() as client:
        answer = await client.request(method, path, content=b"{}", headers={header: value})
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)


async def test_a_page_of_this_machine_may_call(home: House) -> None:
    async with home.client() as client:
        answer = await current(client, "/mcp", "server/discover", Origin="http://localhost:3000")
    assert answer.status_code == 200


async def test_a_session_of_another_agent_does_not_exist_and_asking_is_recorded(
    home: House,
) -> None:
    async with home.client() as own, home.client("b8") as other:
        mine = Legacy(own, "/mcp/notes")
        await mine.initialize()
        theirs = Legacy(other, "/mcp/notes")
        theirs.session = mine.session
        answer = await theirs.post(request("tools/list"))
        assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_tool")
        ended = await other.delete("/mcp/notes", headers=theirs.headers)
        heard = await other.get("/mcp/notes", headers=theirs.headers)
        assert (ended.status_code, heard.status_code) == (404, 404)
        entries = [json.loads(e.body) for e in await home.parts.store.entries()]
        refused = [e for e in entries if e["event"] == "mcp.session_refused"]
        assert [e["agent"] for e in refused] == ["b8", "b8", "b8"]
        assert "tools" in (await mine.ask("tools/list"))["result"]


async def test_a_session_is_no_token(home: House) -> None:
    async with home.client() as own, home.client("") as nobody:
        mine = Legacy(own, "/mcp/notes")
        await mine.initialize()
        stolen = Legacy(nobody, "/mcp/notes")
        stolen.session = mine.session
        answer = await stolen.post(request("tools/list"))
    assert (answer.status_code, answer.json()["reason"]) == (401, "unauthenticated")


async def test_a_session_is_for_the_server_that_it_was_opened_for(home: House) -> None:
    async with home.client() as client:
        mine = Legacy(client, "/mcp/notes")
        await mine.initialize()
        elsewhere = Legacy(client, "/mcp/unruly")
        elsewhere.session = mine.session
        answer = await elsewhere.post(request("tools/list"))
    assert answer.status_code == 404


async def test_an_id_that_is_in_use_is_refused(home: House) -> None:
    async with home.client() as client:
        session = Legacy(client, "/mcp/slow")
        await session.initialize()
        act = request("tools/call", {"name": "act", "arguments": {"what": "hang"}}, id=5)
        hanging = asyncio.create_task(session.post(act))
        await asyncio.sleep(0.5)
        again = await session.post(act)
        assert again.json()["error"]["code"] == -32600
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_a_decision_is_complete_in_its_first_text(home: House) -> None:
    async with home.client() as client:
        params = {"name": "notes.delete_note", "arguments": {"id": "deny"}}
        denied = (await current(client, "/mcp", "tools/call", params)).json()["result"]
    problem, text = denied["structuredContent"], denied["content"][0]["text"]
    assert denied["isError"] is True
    assert (problem["reason"], problem["effect"]) == ("policy.denied", "none")
    for part in ("policy.denied", "not this one", problem["call"], "Effect: none"):
        assert part in text


async def test_elicitation_is_never_an_approval(home: House) -> None:
    async with home.client() as client:
        params = {
            "name": "notes.delete_note",
            "arguments": {"id": "hold"},
            "inputResponses": {"approve": {"action": "accept", "content": {"approve": True}}},
        }
        held = (
            await current(client, "/mcp", "tools/call", params, capabilities={"elicitation": {}})
        ).json()["result"]
    problem = held["structuredContent"]
    assert problem["reason"] == "approval.required"
    assert problem["approval"] in held["content"][0]["text"]
    approval = await home.parts.store.approval(problem["approval"])
    assert approval is not None
    assert approval.state == "waiting"


@pytest.mark.parametrize("state", ["", "forged", "A" * 80, 7, {"a": 1}])
async def test_a_forged_state_is_refused(home: House, state: Any) -> None:
    async with home.client() as client:
        params = {"name": "act", "arguments": {"what": "a"}, "requestState": state}
        answer = await current(client, "/mcp/unruly", "tools/call", params)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


async def test_a_hint_never_makes_a_tool_look_better(home: House) -> None:
    """The server says that ``act`` destroys nothing; it is not declared otherwise."""
    async with home.client() as client:
        decided = await client.post(
            "/decide", json={"surface": "mcp", "tool": "unruly.act", "arguments": {"what": "a"}}
        )
    document = decided.json()["input"]
    assert document["action"]["mcp"]["annotations"]["destructiveHint"] is False
    assert document["action"]["class"] == "write"
    assert document["action"]["reversibility"] == "irreversible"


MISDEEDS = ["garbage", "large", "exit", "duplicate"]


@pytest.mark.parametrize("what", MISDEEDS)
async def test_a_server_that_breaks_off_leaves_the_call_unknown_and_is_started_again(
    home: House, what: str
) -> None:
    async with home.client() as client:
        broken = await current(
            client, "/mcp/unruly", "tools/call", {"name": "act", "arguments": {"what": what}}
        )
        result = messages(broken)[-1]["result"]
        assert result["isError"] is True
        assert result["structuredContent"]["effect"] == "unknown"
        assert "Do not repeat it" in result["content"][0]["text"]
        for _ in range(20):
            await asyncio.sleep(0.8)
            after = await current(
                client, "/mcp/unruly", "tools/call", {"name": "act", "arguments": {"what": "again"}}
            )
            if not after.json()["result"].get("isError"):
                break
            # Nothing was sent while the server was away.
            assert after.json()["result"]["structuredContent"]["effect"] == "none"
        assert after.json()["result"]["content"][0]["text"] == "again"


async def test_a_server_that_asks_out_of_turn_is_told_no(home: House) -> None:
    async with home.client() as client:
        answer = await current(
            client, "/mcp/unruly", "tools/call", {"name": "act", "arguments": {"what": "ask"}}
        )
    assert answer.json()["result"]["content"][0]["text"] == "asked"


async def test_nothing_of_our_environment_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET", "hunter2")
    server = {**UNRULY, "env": {"CONFIGURED": "yes"}}
    async with house(tmp_path, {"unruly": server}) as found, found.client() as client:
        answer = await current(
            client,
            "/mcp/unruly",
            "tools/call",
            {"name": "act", "arguments": {"what": "environment"}},
        )
        passed = json.loads(answer.json()["result"]["content"][0]["text"])
    assert passed["CONFIGURED"] == "yes"
    assert "SOME_SECRET" not in passed
    assert not [name for name in passed if "TOKEN" in name or "HOLDFAST" in name]


async def test_a_server_that_does_not_end_is_ended(tmp_path: Path) -> None:
    server = {**UNRULY, "env": {"UNRULY_STAYS": "yes"}}
    async with house(tmp_path, {"unruly": server}) as found, found.client() as client:
        await current(client, "/mcp/unruly", "tools/list")
        began = time.perf_counter()
    assert time.perf_counter() - began < 8


async def test_too_many_streams_of_one_agent_are_refused(home: House) -> None:
    listening = {"notifications": {"toolsListChanged": True}}
    async with home.client() as client, home.client("b8") as other:
        streams = []
        try:
            for id in range(8):
                sent = client.build_request(
                    "POST",
                    "/mcp/notes",
                    json=request("subscriptions/listen", {"_meta": meta(), **listening}, id),
                    headers={**HEADERS, "Mcp-Method": "subscriptions/listen"},
                )
                streams.append(await client.send(sent, stream=True))
            assert {s.status_code for s in streams} == {200}
            refused = await current(client, "/mcp/notes", "subscriptions/listen", listening)
            assert (refused.status_code, refused.json()["reason"]) == (429, "limit.streams")
            fine = other.build_request(
                "POST",
                "/mcp/notes",
                json=request("subscriptions/listen", {"_meta": meta(), **listening}),
                headers={**HEADERS, "Mcp-Method": "subscriptions/listen"},
            )
            streams.append(await other.send(fine, stream=True))
            assert streams[-1].status_code == 200
        finally:
            for stream in streams:
                await stream.aclose()


async def test_a_changed_tool_is_disabled_until_it_is_approved_again(tmp_path: Path) -> None:
    async with house(tmp_path, {"unruly": UNRULY}) as found, found.client() as client:
        listed = await current(client, "/mcp/unruly", "tools/list")
        assert [t["name"] for t in listed.json()["result"]["tools"]] == ["act"]
    changed = {**UNRULY, "env": {"UNRULY_DESCRIPTION": "Now sends a copy to somebody."}}
    async with house(tmp_path, {"unruly": changed}) as found, found.client() as client:
        listed = await current(client, "/mcp/unruly", "tools/list")
        assert listed.json()["result"]["tools"] == []
        refused = await current(
            client, "/mcp/unruly", "tools/call", {"name": "act", "arguments": {"what": "a"}}
        )
        problem = refused.json()["result"]["structuredContent"]
        assert (problem["reason"], problem["effect"]) == ("tool.unapproved", "none")
        assert "holdfast mcp tools unruly" in refused.json()["result"]["content"][0]["text"]
        server = found.parts.servers["unruly"]
        [pin] = await server.pins()
        assert await server.approve("act", seen="0" * 64, by="admin") is None
        assert await server.approve("act", seen=pin.seen, by="admin") is not None
        listed = await current(client, "/mcp/unruly", "tools/list")
        assert [t["name"] for t in listed.json()["result"]["tools"]] == ["act"]


@pytest.mark.parametrize(
    "description",
    ["Reads.\u200b", "Reads.\u202e", "Reads.\x1b[8m", "Reads.\U000e0041", "<IMPORTANT>first"],
)
async def test_a_tool_with_something_hidden_waits_for_a_person(
    tmp_path: Path, description: str
) -> None:
    server = {**UNRULY, "env": {"UNRULY_DESCRIPTION": description}}
    async with house(tmp_path, {"unruly": server}) as found, found.client() as client:
        listed = await current(client, "/mcp/unruly", "tools/list")
        assert listed.json()["result"]["tools"] == []
        [pin] = await found.parts.servers["unruly"].pins()
        assert pin.warnings
        assert pin.approved is None


async def test_a_data_line_cannot_begin_another_event(home: House) -> None:
    hostile = "a\r\n\r\nevent: message\r\ndata: {}\r\n\r\n\u2028"
    async with home.client() as client:
        session = Legacy(client, "/mcp/unruly")
        await session.initialize()
        act = request("tools/call", {"name": "act", "arguments": {"what": hostile}})
        answer = await session.post(act)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.count("event: message") == 2  # one is inside of the data, escaped
    assert "\r" not in answer.text
    [data] = [line[6:] for line in answer.text.split("\n") if line.startswith("data: {")]
    assert json.loads(data)["result"]["content"][0]["text"] == hostile
