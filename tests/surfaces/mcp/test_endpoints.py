"""Both eras of clients over both eras of servers, through a real socket."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.mcp.elsewhere import listening
from tests.fixtures.mcp.house import House, Legacy, current, house, messages, meta, request

EVERYTHING = [sys.executable, "-m", "tests.fixtures.mcp.everything"]
READ = {"*": {"class": "read"}}
SERVERS: dict[str, Any] = {
    "new": {"url": "", "protocol": "current", "tools": READ},
    "old": {"url": "", "protocol": "previous", "tools": READ},
    "piped": {"command": EVERYTHING, "protocol": "current", "tools": READ},
    "piped_old": {"command": EVERYTHING, "protocol": "previous", "tools": READ},
    "notes": {
        "command": "python",
        "tools": {
            "list_notes": {"class": "read"},
            "read_note": {"class": "read"},
            "write_note": {
                "class": "write",
                "before": {
                    "tool": "read_note",
                    "arguments": {"id": "$arguments.id"},
                    "error_means_absent": True,
                },
                "undo": {
                    "tool": "write_note",
                    "arguments": {"id": "$arguments.id", "text": "$before.text"},
                },
                "undo_absent": {"tool": "delete_note", "arguments": {"id": "$arguments.id"}},
            },
        },
    },
}
ASKS = {"elicitation": {"form": {}}, "sampling": {}, "roots": {}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("eras")
    args = ["-m", "gateway.demo.notes", f"{folder}/notes.db"]
    notes = {**SERVERS["notes"], "args": args}
    async with listening() as url:
        SERVERS["new"]["url"] = SERVERS["old"]["url"] = url
        async with house(folder, {**SERVERS, "notes": notes}) as found:
            yield found


pytestmark = pytest.mark.asyncio(loop_scope="module")
BOTH = pytest.mark.parametrize("server", ["new", "old", "piped", "piped_old"])


def text_of(answer: dict[str, Any]) -> str:
    text: str = answer["result"]["content"][0]["text"]
    return text


@BOTH
async def test_a_current_client_uses_a_server_of_either_era(home: House, server: str) -> None:
    path = f"/mcp/{server}"
    async with home.client() as client:
        found = (await current(client, path, "server/discover")).json()["result"]
        assert {"tools", "resources", "prompts"} <= set(found["capabilities"])
        for method, member in (
            ("tools/list", "tools"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
            ("prompts/list", "prompts"),
        ):
            listed = (await current(client, path, method)).json()["result"]
            assert listed[member]
            assert (listed["resultType"], listed["cacheScope"]) == ("complete", "private")
            assert listed["ttlMs"] >= 0
        said = (await current(client, path, "tools/call", {"name": "test_simple_text"})).json()
        assert text_of(said) == "This is a simple text response for testing."
        assert said["result"]["_meta"]["holdfast/call"]["effect"] == "none"
        uri = {"uri": "test://static-text"}
        read = (await current(client, path, "resources/read", uri)).json()["result"]
        assert read["contents"][0]["text"].startswith("This is the content")
        missing = await current(client, path, "resources/read", {"uri": "test://nowhere"})
        assert missing.json()["error"]["code"] == -32602
        prompt = {"name": "test_simple_prompt"}
        got = (await current(client, path, "prompts/get", prompt)).json()["result"]
        assert got["messages"][0]["content"]["text"] == "This is a simple prompt for testing."
        ref = {"type": "ref/prompt", "name": "test_prompt_with_arguments"}
        argument = {"name": "arg1", "value": "pa"}
        wanted = {"ref": ref, "argument": argument}
        done = (await current(client, path, "completion/complete", wanted)).json()["result"]
        assert done["completion"]["values"] == ["paris", "park"]


@BOTH
async def test_a_previous_client_uses_a_server_of_either_era(home: House, server: str) -> None:
    async with home.client() as client:
        session = Legacy(client, f"/mcp/{server}")
        hello = await session.initialize()
        assert hello["protocolVersion"] == "2025-11-25"
        listed = (await session.ask("tools/list"))["result"]
        assert "resultType" not in listed
        assert "ttlMs" not in listed
        said = await session.ask("tools/call", {"name": "test_simple_text", "arguments": {}})
        assert text_of(said) == "This is a simple text response for testing."
        assert (await session.ask("ping"))["result"] == {}
        read = await session.ask("resources/read", {"uri": "test://static-text"})
        assert read["result"]["contents"][0]["text"].startswith("This is the content")
        assert (await session.ask("logging/setLevel", {"level": "info"}))["result"] == {}
        assert (await session.ask("no/such"))["error"]["code"] == -32601
        ended = await client.delete(f"/mcp/{server}", headers=session.headers)
        assert ended.status_code == 202
        assert (await session.post(request("ping"))).status_code == 404


@BOTH
async def test_progress_and_log_messages_arrive_before_the_answer(home: House, server: str) -> None:
    async with home.client() as client:
        session = Legacy(client, f"/mcp/{server}")
        await session.initialize()
        params = {"name": "test_tool_with_progress", "arguments": {}}
        await session.ask("tools/call", {**params, "_meta": {"progressToken": "mine"}})
        heard = [m["params"] for m in session.heard]
        assert [p["progress"] for p in heard] == [0, 50, 100]
        assert {p["progressToken"] for p in heard} == {"mine"}
        body = {**params, "_meta": {**meta(), "progressToken": 7}}
        streamed = await current(client, f"/mcp/{server}", "tools/call", body)
        assert [m.get("method") for m in messages(streamed)] == [
            *["notifications/progress"] * 3,
            None,
        ]


async def test_a_server_asks_the_person_behind_a_current_client(home: House) -> None:
    """The server is of the previous era: it asks in the middle of a call that stays open."""
    async with home.client() as client:
        params = {"name": "test_elicitation", "arguments": {"message": "Who?"}}
        first = await current(client, "/mcp/old", "tools/call", params, capabilities=ASKS)
        asked = first.json()["result"]
        assert asked["resultType"] == "input_required"
        [(key, question)] = asked["inputRequests"].items()
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"] == "Who?"
        answer = {key: {"action": "accept", "content": {"response": "Ada"}}}
        again = {**params, "inputResponses": answer, "requestState": asked["requestState"]}
        done = await current(client, "/mcp/old", "tools/call", again, capabilities=ASKS)
        assert "Ada" in text_of(done.json())
        replayed = await current(client, "/mcp/old", "tools/call", again, capabilities=ASKS)
        assert (replayed.status_code, replayed.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize("change", ["subject", "arguments", "server"])
async def test_a_state_is_for_its_own_subject_and_request(home: House, change: str) -> None:
    async with home.client() as client, home.client("b8") as other:
        params = {"name": "test_elicitation", "arguments": {"message": "Who?"}}
        first = await current(client, "/mcp/old", "tools/call", params, capabilities=ASKS)
        state = first.json()["result"]["requestState"]
        again: dict[str, Any] = {**params, "requestState": state, "inputResponses": {}}
        if change == "arguments":
            again["arguments"] = {"message": "What?"}
        sender = other if change == "subject" else client
        path = "/mcp/new" if change == "server" else "/mcp/old"
        refused = await current(sender, path, "tools/call", again, capabilities=ASKS)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32602)


@pytest.mark.parametrize(
    ("server", "tool"),
    [("old", "test_elicitation"), ("new", "test_input_required_result_elicitation")],
)
async def test_a_server_asks_the_person_behind_a_previous_client(
    home: House, server: str, tool: str
) -> None:
    async with home.client() as client:
        session = Legacy(client, f"/mcp/{server}")
        await session.initialize(**ASKS)
        arguments = {"message": "Who?"} if server == "old" else {}
        sent = client.build_request(
            "POST",
            f"/mcp/{server}",
            json=request("tools/call", {"name": tool, "arguments": arguments}),
            headers=session.headers,
        )
        stream = await client.send(sent, stream=True)
        found = ""
        async for line in stream.aiter_lines():
            if not line.startswith("data: {"):
                continue
            message = json.loads(line[6:])
            if message.get("method") == "elicitation/create":
                content = {"response": "Ada", "name": "Ada"}
                reply = {"action": "accept", "content": content}
                posted = await session.post(
                    {"jsonrpc": "2.0", "id": message["id"], "result": reply}
                )
                assert posted.status_code == 202
            elif "result" in message:
                found = text_of(message)
        assert "Ada" in found


async def test_a_client_that_cannot_be_asked_is_not_asked(home: House) -> None:
    async with home.client() as client:
        params = {"name": "test_elicitation", "arguments": {"message": "Who?"}}
        refused = (await current(client, "/mcp/old", "tools/call", params)).json()["error"]
    assert refused["message"] == "The client does not answer elicitation/create."


@pytest.mark.parametrize("server", ["new", "piped"])
async def test_changes_are_heard_on_both_kinds_of_streams(home: House, server: str) -> None:
    path = f"/mcp/{server}"
    async with home.client() as client:
        wanted = {"_meta": meta(), "notifications": {"toolsListChanged": True}}
        listen = client.build_request(
            "POST",
            path,
            json=request("subscriptions/listen", wanted, "mine"),
            headers={
                "Accept": "text/event-stream, application/json",
                "MCP-Protocol-Version": "2026-07-28",
                "Mcp-Method": "subscriptions/listen",
            },
        )
        session = Legacy(client, path)
        await session.initialize()
        get = client.build_request("GET", path, headers=session.headers)
        streams = [await client.send(listen, stream=True), await client.send(get, stream=True)]
        heard = [asyncio.create_task(_first_change(stream)) for stream in streams]
        while not all(task.done() for task in heard):  # a stream may not be listening yet
            await current(client, path, "tools/call", {"name": "test_trigger_tool_change"})
            await asyncio.sleep(0.5)
        found = [task.result() for task in heard]
        for stream in streams:
            await stream.aclose()
    assert [m["method"] for m in found] == ["notifications/tools/list_changed"] * 2
    subscription = "io.modelcontextprotocol/subscriptionId"
    assert found[0]["params"]["_meta"] == {subscription: "mine"}


async def _first_change(stream: Any) -> dict[str, Any]:
    async for line in stream.aiter_lines():
        if line.startswith("data: {") and "list_changed" in line:
            found: dict[str, Any] = json.loads(line[6:])
            return found
    raise AssertionError("the stream ended")


async def test_a_broken_stream_is_taken_up_where_it_broke(home: House) -> None:
    async with home.client() as client:
        session = Legacy(client, "/mcp/old")
        await session.initialize()
        slow = request("tools/call", {"name": "slow", "arguments": {"seconds": 0.7}})
        sent = client.build_request("POST", "/mcp/old", json=slow, headers=session.headers)
        stream = await client.send(sent, stream=True)
        last = ""
        async for line in stream.aiter_lines():
            if line.startswith("id: "):
                last = line[4:]
                break
        await stream.aclose()
        rest = await client.get("/mcp/old", headers={**session.headers, "Last-Event-ID": last})
    assert text_of(messages(rest)[-1]) == "after 0.7 s"


async def test_a_cancelled_call_ends_without_an_effect(home: House) -> None:
    async with home.client() as client:
        session = Legacy(client, "/mcp/old")
        await session.initialize()
        slow = request("tools/call", {"name": "slow", "arguments": {"seconds": 20}}, id=77)
        running = asyncio.create_task(session.post(slow))
        note = {"method": "notifications/cancelled", "params": {"requestId": 77}}
        while not running.done():  # it may not have begun yet
            await asyncio.sleep(0.2)
            assert (await session.post({"jsonrpc": "2.0", **note})).status_code == 202
        ended = messages(running.result())[-1]["result"]
    assert ended["structuredContent"]["reason"] == "cancelled"
    assert ended["structuredContent"]["effect"] == "none"


async def test_all_servers_stand_behind_one_address(home: House) -> None:
    async with home.client() as client:
        tools = (await current(client, "/mcp", "tools/list")).json()["result"]["tools"]
        names = {tool["name"] for tool in tools}
        assert {"notes.read_note", "new.test_simple_text", "old.test_simple_text"} <= names
        resources = (await current(client, "/mcp", "resources/list")).json()["result"]
        uri = next(r["uri"] for r in resources["resources"] if r["name"] == "static_text")
        assert uri.startswith("holdfast://")
        read = (await current(client, "/mcp", "resources/read", {"uri": uri})).json()
        assert read["result"]["contents"][0]["text"].startswith("This is the content")
        prompt = {"name": "old.test_simple_prompt"}
        assert (await current(client, "/mcp", "prompts/get", prompt)).status_code == 200
        nothing = await current(client, "/mcp", "tools/call", {"name": "nobody.tool"})
        assert nothing.json()["error"]["code"] == -32602
        assert (await current(client, "/mcp/nobody", "tools/list")).status_code == 404


async def test_what_a_tool_did_is_taken_back(home: House) -> None:
    async with home.client() as client, home.admin() as admin:

        async def note(id: str) -> str:
            read = {"name": "read_note", "arguments": {"id": id}}
            return text_of((await current(client, "/mcp/notes", "tools/call", read)).json())

        before = await note("ideas")
        for id in ("ideas", "brand-new"):
            write = {"name": "write_note", "arguments": {"id": id, "text": "other"}}
            done = (await current(client, "/mcp/notes", "tools/call", write)).json()["result"]
            assert await note(id) == "other"
            about = done["_meta"]["holdfast/call"]
            assert (about["effect"], about["undo"]["available"]) == ("applied", True)
            assert f"holdfast revert {about['call']}" in done["content"][-1]["text"]
            job = await admin.post("/admin/reverts", json={"call": about["call"], "reason": "x"})
            assert job.json()["state"] == "reverted", job.text
        assert await note("ideas") == before
        assert "There is no note" in await note("brand-new")


async def test_a_key_gives_the_same_answer_again(home: House) -> None:
    async with home.client() as client:
        params = {
            "name": "write_note",
            "arguments": {"id": "keyed", "text": "once"},
            "_meta": {**meta(), "holdfast/idempotency-key": "key-1"},
        }
        first, second = [
            (await current(client, "/mcp/notes", "tools/call", params)).json()["result"]
            for _ in range(2)
        ]
        other = {**params, "arguments": {"id": "keyed", "text": "twice"}}
        refused = (await current(client, "/mcp/notes", "tools/call", other)).json()["result"]
    about = [r["_meta"]["holdfast/call"] for r in (first, second)]
    assert about[0]["call"] == about[1]["call"]
    assert [a["replayed"] for a in about] == [False, True]
    assert first["content"] == second["content"]
    assert refused["structuredContent"]["reason"] == "idempotency.mismatch"


async def test_a_freeze_stops_what_writes_and_leaves_reads(home: House) -> None:
    async with home.client() as client, home.admin() as admin:
        order = {"scope": {"tools": ["notes"]}, "reason": "release"}
        freeze = (await admin.post("/admin/freezes", json=order)).json()["id"]
        write = {"name": "write_note", "arguments": {"id": "frozen", "text": "x"}}
        stopped = (await current(client, "/mcp/notes", "tools/call", write)).json()["result"]
        read = {"name": "read_note", "arguments": {"id": "ideas"}}
        allowed = (await current(client, "/mcp/notes", "tools/call", read)).json()["result"]
        await admin.delete(f"/admin/freezes/{freeze}")
    assert allowed["isError"] is False, allowed
    assert stopped["structuredContent"]["reason"] == "frozen"
    assert "release" in stopped["content"][0]["text"]
    assert allowed["isError"] is False


async def test_what_a_server_says_is_decided_as_a_read(home: House, tmp_path: Path) -> None:
    denying = (home.home / "policies" / "gateway.rego").read_text()
    denying = denying.replace(
        'input.action.mcp.arguments.id == "deny"', 'input.action.mcp.tool == "resources/read"'
    )
    servers = {"old": SERVERS["old"]}
    async with house(tmp_path, servers, policy=denying) as found, found.client() as client:
        uri = {"uri": "test://static-text"}
        refused = (await current(client, "/mcp/old", "resources/read", uri)).json()["error"]
    assert refused["code"] == -32010
    assert refused["data"]["reason"] == "policy.denied"
    assert "not this one" in refused["message"]
