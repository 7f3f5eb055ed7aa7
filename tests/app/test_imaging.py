"""Images in a gateway as it is configured: encrypted, expired, deleted, and with their keys."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from gateway.app import Parts, assemble, check, opened
from gateway.app.imaging import keys_of
from gateway.config import Config, SourceSettings, parse
from gateway.errors import StoreUnavailable
from gateway.lifecycle import State
from gateway.model import Reply, Subject, Surface
from gateway.revert import RevertRequest
from tests.fixtures.fakes import a_call
from tests.fixtures.object_store import ObjectStore
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.serving import environment

OLD, NEW = (base64.b64encode(bytes(range(n, n + 32))).decode() for n in (1, 99))
BOTH = '{keys: [{id: new, key: "${NEW}"}, {id: old, key: "${OLD}"}]}'
ONLY_OLD = '{keys: [{id: old, key: "${OLD}"}]}'
ONLY_NEW = '{keys: [{id: new, key: "${NEW}"}]}'
PLAIN = '{keys: [{id: old, key: "${OLD}"}], journals: plain}'


CANARY = "canary-7f3a@example.org"
RULE = """package gateway

decision := {"allow": true, "hold": false, "reasons": [], "obligations": {"irreversible": true}}
"""


def config(home: Path, encryption: str = "{}", **snapshots: str) -> Config:
    (home / "policies").mkdir(exist_ok=True)
    (home / "policies" / "rule.rego").write_text(RULE)
    more = "".join(f"  {name}: {value}\n" for name, value in snapshots.items())
    text = f"""
identity: {{admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"}}
store: {{url: "sqlite:///{home}/store.db"}}
policy: {{path: "{home}/policies"}}
limits: {{max_rows: 100000, max_share: 1.0}}
snapshots:
  path: {home}/snapshots
  inline_bytes: 2000
  encryption: {encryption}
{more}
sources: {{shop: {{url: "sqlite:///{home}/shop.db", environment: development, seed: shop}}}}
"""
    return parse(text, {**environment(home), "OLD": OLD, "NEW": NEW})


async def sent(parts: Parts, sql: str) -> Reply:
    call = replace(
        a_call(tool="shop"),
        subject=Subject(id="demo", session="s"),
        surface=Surface.SQL,
        request={"sql": sql, "params": []},
    )
    return await parts.pipeline.handle(call)


async def run(parts: Parts, sql: str) -> str:
    """The id of the call, which succeeded."""
    reply = await sent(parts, sql)
    assert reply.state is State.SUCCEEDED, reply.outcome.refusal
    return reply.call


async def reverted(parts: Parts, call: str) -> str:
    request = RevertRequest(target={"call": call}, by="ann")
    return (await parts.reverter.revert(request)).state


def holding(folder: Path, canary: str) -> list[str]:
    return sorted(
        str(found.relative_to(folder))
        for found in folder.rglob("*")
        if found.is_file() and canary.encode() in found.read_bytes()
    )


async def test_images_are_encrypted_wherever_they_lie_and_take_back_exactly(tmp_path: Path) -> None:
    parts = assemble(config(tmp_path, ONLY_OLD))
    async with opened(parts):
        await run(parts, f"UPDATE customers SET email = '{CANARY}' || id")
        call = await run(parts, "DELETE FROM customers WHERE id <= 900")
        small = await run(parts, "UPDATE customers SET plan = 'pro' WHERE id = 1000")
        infos, _ = await parts.store.snapshots()
        assert {info.key for info in infos} == {"old"}
        assert {info.place for info in infos} == {"row", "file"}
        assert await asyncio.to_thread(holding, tmp_path / "snapshots", CANARY) == []
        assert await asyncio.to_thread(holding, tmp_path, "pro") != []  # it can be found
        assert await reverted(parts, small) == "reverted"
        assert await reverted(parts, call) == "reverted"
        read = await sent(parts, "SELECT email FROM customers WHERE id = 5")
    assert CANARY in json.dumps(dict(read.outcome.result or {}))


async def test_what_only_a_journal_could_take_back_is_refused_when_it_must_be_encrypted(
    tmp_path: Path,
) -> None:
    journals = tmp_path / "snapshots" / "journals"
    sql = "ALTER TABLE customers ADD COLUMN note"
    parts = assemble(config(tmp_path, ONLY_OLD))
    async with opened(parts):
        refusal = (await sent(parts, sql)).outcome.refusal
        assert refusal is not None
        assert refusal.reason == "undo.unavailable"
        assert "snapshots.encryption.journals" in refusal.detail
        assert await asyncio.to_thread(list, journals.glob("*.journal")) == []
    parts = assemble(config(tmp_path, PLAIN))
    async with opened(parts):
        await run(parts, sql)  # the column is not there yet
        assert len(await asyncio.to_thread(list, journals.glob("*.journal"))) == 1


async def test_a_kept_journal_goes_with_its_snapshot(tmp_path: Path) -> None:
    journals = tmp_path / "snapshots" / "journals"
    parts = assemble(config(tmp_path, retention="1h"))
    async with opened(parts):
        calls = [await run(parts, f"ALTER TABLE customers ADD COLUMN c{n}") for n in range(2)]
        assert len(await asyncio.to_thread(list, journals.glob("*.journal"))) == 2
        assert await parts.store.delete_snapshot(f"snap_{calls[0][5:]}", by="ann")
        assert len(await asyncio.to_thread(list, journals.glob("*.journal"))) == 1
        soon = parts.clock.now() + timedelta(hours=2)
        assert await parts.store.expire_snapshots(soon) == 1
        assert await asyncio.to_thread(list, journals.glob("*.journal")) == []
        entries = [json.loads(e.body) for e in await parts.store.entries(limit=1000)]
    assert [e["event"] for e in entries if e["event"].startswith("snapshot.")] == [
        "snapshot.delete",
        "snapshot.erase",
    ] * 2
    assert [e["why"] for e in entries if e["event"] == "snapshot.delete"] == ["deleted", "expired"]


async def test_a_missing_key_is_told_by_the_check_and_keeps_everything_closed(
    tmp_path: Path,
) -> None:
    parts = assemble(config(tmp_path, ONLY_OLD))
    async with opened(parts):
        call = await run(parts, "DELETE FROM customers WHERE id = 5")
        # Also while a gateway runs.
        assert not any(f.level == "error" for f in await check(config(tmp_path, BOTH)))
    for wrong in ("{}", ONLY_NEW):
        [fault] = [f for f in await check(config(tmp_path, wrong)) if f.level == "error"]
        assert "not configured: old" in fault.message
        with pytest.raises(StoreUnavailable, match="old"):
            async with opened(assemble(config(tmp_path, wrong))):
                pytest.fail("it opened")
    parts = assemble(config(tmp_path, BOTH))
    async with opened(parts):
        assert (await parts.store.rotate_keys(by="ann")).rewrapped >= 1
    parts = assemble(config(tmp_path, ONLY_NEW))
    async with opened(parts):
        assert await reverted(parts, call) == "reverted"


def test_keys_are_those_of_the_configuration(tmp_path: Path) -> None:
    assert keys_of(config(tmp_path).snapshots.encryption) is None
    keys = keys_of(config(tmp_path, BOTH).snapshots.encryption)
    assert keys is not None
    assert keys.active == "new"
    assert "old" in keys


async def test_images_in_an_object_store_take_back_and_without_it_nothing_happens(
    tmp_path: Path, object_store: ObjectStore
) -> None:
    settings = config(tmp_path, url=object_store.url, endpoint=object_store.endpoint)
    parts = assemble(settings)
    async with opened(parts):
        before = await sent(parts, "SELECT count(*) FROM customers")
        call = await run(parts, "DELETE FROM customers WHERE id <= 900")
        assert len(object_store.keys()) == 1
        assert await reverted(parts, call) == "reverted"
        assert (await sent(parts, "SELECT count(*) FROM customers")).outcome == before.outcome
        object_store.client.delete_bucket_policy(Bucket="images")
        left = object_store.keys()
        for key in left:
            object_store.client.delete_object(Bucket="images", Key=key)
        object_store.client.delete_bucket(Bucket="images")
        failed = await sent(parts, "DELETE FROM customers WHERE id <= 900")
        assert failed.outcome.refusal is not None
        assert failed.outcome.refusal.reason == "snapshot.failed"
        assert failed.effect == "none"
        assert (await sent(parts, "SELECT count(*) FROM customers")).outcome == before.outcome
        object_store.client.create_bucket(Bucket="images")


async def test_images_in_the_target_are_prepared_for_used_and_deleted(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    database = postgres_server.create_database()
    admin_url = postgres_server.url(database)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("CREATE TABLE customers(id int PRIMARY KEY, email text)")
        admin.execute(
            "INSERT INTO customers SELECT i, %s || i FROM generate_series(1, 900) i", (CANARY,)
        )
    made = config(tmp_path, ONLY_OLD)
    source = SourceSettings.model_validate(
        {
            "url": postgres_server.url(database, "imaging_agents"),
            "capture_url": postgres_server.url(database, "imaging_keeper"),
            "images_schema": "holdfast_images",
        }
    )
    parts = assemble(made.model_copy(update={"sources": {"shop": source}}))
    async with opened(parts):
        pieces = await parts.sources["shop"].prepare(  # type: ignore[attr-defined]
            apply=True, include=frozenset(), admin_url=admin_url
        )
        assert {p.state for p in pieces if p.id == "images-schema"} == {"applied"}
        again = await parts.sources["shop"].prepare(  # type: ignore[attr-defined]
            apply=False, include=frozenset(), admin_url=admin_url
        )
        assert {p.state for p in again if p.id == "images-schema"} == {"there"}
        said = " ".join(f.message for f in await check(parts.config))
        assert "cannot hold images" not in said
        call = await run(parts, "DELETE FROM customers")
        [info], _ = await parts.store.snapshots()
        assert info.place == "file"
        assert await asyncio.to_thread(holding, tmp_path / "snapshots", "") == []
        with psycopg.connect(admin_url) as admin:
            query = "SELECT sum(octet_length(bytes)) > 1000 FROM holdfast_images.parts"
            assert admin.execute(query).fetchone() == (True,)
        assert await reverted(parts, call) == "reverted"
        for info in (await parts.store.snapshots())[0]:
            assert await parts.store.delete_snapshot(info.id, by="ann")
        with psycopg.connect(admin_url) as admin:
            assert admin.execute("SELECT count(*) FROM customers").fetchone() == (900,)
            assert admin.execute("SELECT count(*) FROM holdfast_images.parts").fetchone() == (0,)
    postgres_server.drop_database(database)
