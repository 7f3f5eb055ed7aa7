"""The real walks, store and freezer behind the application: what agents and people meet."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from starlette.responses import Response
from starlette.routing import Match, Route

from gateway.guards.freeze import Freezer, Windows
from gateway.identity.failures import FailedSignIns
from gateway.identity.token import AdminToken, ConfiguredAgent, TokenIdentifier
from gateway.interfaces import Attempt
from gateway.model import Action, Allow, Call, CallRecord, Deny, Hold, Subject, Undo
from gateway.surfaces.application import Directory, application
from gateway.surfaces.routes import endpoints
from gateway.surfaces.wiring import Bounds, Gateway
from tests.fixtures.fakes import FakeUpstream, ids
from tests.fixtures.walks import Walks, walks
from tests.surfaces.doubles import ADMIN, AGENT, OTHER, FakePolicies, FakePurger


class Box(FakeUpstream):
    """``FakeUpstream`` over texts such as ``update a 1`` and ``delete a``."""

    def _plain(self, call: Call) -> Call:
        verb, key, value = [*call.request["sql"].split(), None, None][:3]
        return replace(call, request={"verb": verb, "key": key, "value": value})

    async def parse(self, call: Call) -> Action | Deny:
        return await super().parse(self._plain(call))

    def attempt(self, call: Call, action: Action) -> AbstractAsyncContextManager[Attempt]:
        return super().attempt(self._plain(call), action)


class BoxImages:
    async def images(self, undo: Undo, *, offset: int, limit: int) -> Sequence[Any]:
        before = [{"key": k, "before": v} for k, v in undo.manifest["before"].items()]
        return before[offset : offset + limit]


@dataclass
class Site:
    walks: Walks
    box: Box
    http: httpx.AsyncClient

    async def sql(self, text: str, *, token: str = AGENT, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(
            "/sql/box",
            json={"sql": text},
            headers={"Authorization": f"Bearer {token}", **named},
        )

    async def admin(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {ADMIN}"}
        return await self.http.request(method, path, headers=headers, **more)


@asynccontextmanager
async def a_site() -> AsyncIterator[Site]:
    box = Box(data={"a": "0", "b": "0"})
    made = await walks(box=box)
    store, clock = made.store, made.clock
    counted = ids()

    def new_id(kind: str) -> str:
        return counted(kind) + "s"  # apart from the ids that the walks make for themselves

    async def may_undo(subject: Subject, record: CallRecord) -> Deny | None:
        return None

    gateway = Gateway(
        pipeline=made.pipeline,
        reverter=made.reverter,
        purger=FakePurger(),
        store=store,
        freezer=Freezer(store, Windows([]), clock, new_id, made.pipeline.cancel),
        policy=FakePolicies(),
        identifier=TokenIdentifier(
            [ConfiguredAgent(name="a7", token=AGENT), ConfiguredAgent(name="b8", token=OTHER)],
            store,
            clock,
        ),
        is_admin=AdminToken(ADMIN).matches,
        failures=FailedSignIns(store, clock),
        clock=clock,
        upstreams={"box": "sql"},
        images={"box": BoxImages()},  # type: ignore[dict-item]
        may_undo=may_undo,
        new_id=new_id,
        readiness={"store": store.ready},
        bounds=Bounds(watch_poll_s=0.001),
    )
    transport = httpx.ASGITransport(app=application(gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://holdfast") as http:
        yield Site(made, box, http)
    await store.close()


async def test_a_call_is_carried_out_seen_and_taken_back() -> None:
    async with a_site() as site:
        done = await site.sql("delete a")
        assert (done.status_code, done.json()["undo"]["available"]) == (200, True)
        assert "a" not in site.box.data
        call = done.json()["call"]
        shown = (await site.admin("GET", f"/admin/calls/{call}")).json()
        assert (shown["state"], shown["effect"]) == ("succeeded", "applied")
        images = (await site.admin("GET", f"/admin/snapshots/{shown['snapshot']}")).json()
        assert images["images"] == [{"key": "a", "before": "0"}]
        plan = await site.admin("POST", "/admin/reverts", json={"call": call, "plan": True})
        assert (plan.json()["state"], plan.json()["steps"][0]["state"]) == ("planned", "planned")
        assert "a" not in site.box.data
        back = await site.admin("POST", "/admin/reverts", json={"call": call, "reason": "wrong"})
        assert (back.status_code, back.json()["state"]) == (200, "reverted")
        assert site.box.data == {"a": "0", "b": "0"}
        kept = await site.admin("GET", f"/admin/reverts/{back.json()['id']}")
        assert kept.json()["steps"] == back.json()["steps"]


async def test_a_session_is_taken_back_as_one() -> None:
    async with a_site() as site:
        for text in ("update a 1", "update b 2", "delete a"):
            assert (await site.sql(text, Holdfast_Session="run-1")).status_code == 200
        job = (await site.admin("POST", "/admin/reverts", json={"session": "run-1"})).json()
        assert (job["state"], len(job["steps"])) == ("reverted", 3)
        assert site.box.data == {"a": "0", "b": "0"}


async def test_what_others_changed_since_is_a_conflict_with_its_values() -> None:
    async with a_site() as site:
        call = (await site.sql("update a 1")).json()["call"]
        await site.sql("update a 9", token=OTHER)
        job = (await site.admin("POST", "/admin/reverts", json={"call": call})).json()
        assert job["state"] == "conflict"
        [conflict] = job["steps"][0]["conflicts"]
        assert (conflict["before"], conflict["after"], conflict["now"]) == ("0", "1", "9")
        assert site.box.data["a"] == "9"
        own = await site.http.post(
            f"/calls/{call}/undo", headers={"Authorization": f"Bearer {AGENT}"}
        )
        assert (own.status_code, own.json()["reason"]) == (409, "revert.conflict")


async def test_a_freeze_stops_writes_until_it_is_lifted() -> None:
    async with a_site() as site:
        frozen = await site.admin("POST", "/admin/freezes", json={"reason": "release"})
        assert (frozen.status_code, frozen.json()["drained"]) == (201, True)
        stopped = await site.sql("update a 1")
        document = stopped.json()
        assert (stopped.status_code, document["reason"]) == (423, "frozen")
        assert document["freezes"][0]["id"] == frozen.json()["id"]
        assert (await site.sql("select a")).status_code == 200
        assert site.box.data["a"] == "0"
        await site.admin("DELETE", f"/admin/freezes/{frozen.json()['id']}")
        assert (await site.sql("update a 1")).status_code == 200


async def test_a_repeated_key_replays_the_same_bytes_and_runs_once() -> None:
    async with a_site() as site:
        first = await site.sql("update a 1", Idempotency_Key="k1")
        again = await site.sql("update a 1", Idempotency_Key="k1")
        assert first.content == again.content
        assert again.headers["Idempotency-Replayed"] == "true"
        assert len(site.box.effects) == 1
        other = await site.sql("update a 2", Idempotency_Key="k1")
        assert (other.status_code, other.json()["reason"]) == (422, "idempotency.mismatch")
        foreign = await site.sql("update b 3", token=OTHER, Idempotency_Key="k1")
        assert foreign.status_code == 200


async def test_a_rehearsal_does_not_stand_for_the_real_call() -> None:
    async with a_site() as site:
        headers = {"Authorization": f"Bearer {AGENT}", "Idempotency-Key": "k1"}
        body = {"sql": "update a 1", "dry_run": True}
        rehearsed = await site.http.post("/sql/box", json=body, headers=headers)
        assert (rehearsed.json()["effect"], rehearsed.json()["dry_run"]) == ("none", True)
        assert site.box.data["a"] == "0"
        real = await site.sql("update a 1", Idempotency_Key="k1")
        assert (real.status_code, real.json()["reason"]) == (422, "idempotency.mismatch")


async def test_a_held_call_runs_when_a_person_says_so() -> None:
    async with a_site() as site:
        site.walks.policy.answer = lambda document: (
            Allow() if document["context"]["approval"] else Hold(reasons=("ask",))
        )
        held = await site.sql("update a 1")
        document = held.json()
        assert (held.status_code, document["reason"]) == (202, "approval.required")
        where = held.headers["Location"]
        assert where == f"/calls/{document['call']}"
        waiting = (await site.admin("GET", "/admin/approvals")).json()["approvals"]
        assert [a["id"] for a in waiting] == [document["approval"]]
        assert site.box.data["a"] == "0"
        path = f"/admin/approvals/{document['approval']}"
        approved = await site.admin("POST", path, json={"decision": "approve"})
        assert approved.status_code == 200
        assert approved.json()["outcome"]["state"] == "succeeded"
        assert site.box.data["a"] == "1"
        again = await site.admin("POST", path, json={"decision": "approve"})
        assert again.status_code == 412
        polled = await site.http.get(where, headers={"Authorization": f"Bearer {AGENT}"})
        assert polled.json()["state"] == "succeeded"


async def test_a_call_answered_early_can_be_polled_and_watched() -> None:
    async with a_site() as site:
        gate = asyncio.Event()
        site.box.pause = gate.wait
        early = await site.sql("update a 1", Prefer="respond-async")
        assert early.status_code == 202
        agent = {"Authorization": f"Bearer {AGENT}"}
        where = early.headers["Location"]
        assert (await site.http.get(where, headers=agent)).json()["state"] in (
            "intent",
            "executing",
        )
        watching = asyncio.create_task(site.http.get(f"{where}/events", headers=agent))
        await asyncio.sleep(0.01)
        gate.set()
        events = await watching
        assert '"state":"executing"' in events.text
        assert '"state":"succeeded"' in events.text
        assert site.box.data["a"] == "1"


async def test_a_client_that_goes_away_does_not_stop_its_call() -> None:
    async with a_site() as site:
        gate, begun = asyncio.Event(), asyncio.Event()

        async def pause() -> None:
            begun.set()
            await gate.wait()

        site.box.pause = pause
        request = asyncio.create_task(site.sql("update a 1", Idempotency_Key="k1"))
        await begun.wait()
        request.cancel()
        await asyncio.wait([request])
        gate.set()
        await site.walks.pipeline.close(5)
        assert site.box.data["a"] == "1"
        again = await site.sql("update a 1", Idempotency_Key="k1")
        assert (again.status_code, again.json()["effect"]) == (200, "applied")
        assert len(site.box.effects) == 1


async def test_a_call_answered_early_can_be_cancelled() -> None:
    async with a_site() as site:
        site.box.pause = asyncio.Event().wait
        early = await site.sql("update a 1", Prefer="respond-async")
        agent = {"Authorization": f"Bearer {AGENT}"}
        document: dict[str, Any] = {"state": "intent"}
        for _ in range(100):
            answer = await site.http.delete(early.headers["Location"], headers=agent)
            document = answer.json()
            if document["state"] == "failed":
                break
            await asyncio.sleep(0.005)
        assert (document["state"], document["effect"]) == ("failed", "none")
        assert document["outcome"]["refusal"]["reason"] == "cancelled"
        assert site.box.data["a"] == "0"


async def test_the_audit_of_all_this_verifies() -> None:
    async with a_site() as site:
        call = (await site.sql("update a 1")).json()["call"]
        await site.admin("POST", "/admin/reverts", json={"call": call})
        await site.sql("drop")
        await site.sql("update a 1", token="wrong")
        point = (await site.admin("POST", "/admin/audit/checkpoints")).json()
        query = f"checkpoint={point['seq']}:{point['hash']}"
        verdict = (await site.admin("GET", f"/admin/audit/verify?{query}")).json()
        assert verdict["ok"] is True
        assert verdict["entries"] == point["seq"] + 1
        log = (await site.admin("GET", "/admin/audit")).text
        assert not any(token in log for token in (AGENT, ADMIN, "wrong"))


@pytest.mark.parametrize("text", ["explode a", "update"])
async def test_deciding_runs_and_records_nothing(text: str) -> None:
    async with a_site() as site:
        before = len(await site.walks.store.entries())
        answer = await site.http.post(
            "/decide",
            json={"surface": "sql", "tool": "box", "sql": text},
            headers={"Authorization": f"Bearer {AGENT}"},
        )
        assert answer.status_code == 200
        assert answer.json()["decision"] in ("deny", "allow")
        assert len(await site.walks.store.entries()) == before
        assert site.box.effects == []


async def test_the_gateway_is_ready_over_its_store() -> None:
    async with a_site() as site:
        answer = await site.http.get("/readyz")
        assert (answer.status_code, answer.json()["parts"]) == (200, {"store": "ok"})


def _scope(method: str, path: str) -> dict[str, object]:
    return {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}


def test_what_is_looked_up_directly_is_what_the_routes_lead_to() -> None:
    every = endpoints()
    directory = Directory(every)
    by_path: dict[str, set[str]] = {}
    for endpoint in every:
        by_path.setdefault(endpoint.path, set()).add(endpoint.method)
    table = [Route(path, lambda _: Response()) for path in by_path]
    for route in table:
        route.methods = by_path[route.path]
    paths = [re.sub(r"\{[a-z_:]+\}", "some-1", e.path) for e in every]
    more = ["/", "", "/mcp/", "/mcp/a/b", "/sql//", "/calls/1/", "/nothing", "/admin/calls/ex%port"]
    found = 0
    for method in ("GET", "POST", "DELETE", "HEAD", "PATCH"):
        for path in (*paths, *more):
            direct = directory.find(_scope(method, path))
            if direct is None:
                continue
            found += 1
            scope = _scope(method, path)
            reached = next(r for r in table if r.matches(scope)[0] is Match.FULL)
            assert (reached.path, method) == (direct[0].path, direct[0].method)
            assert reached.matches(scope)[1]["path_params"] == direct[1]
    assert found > 50
