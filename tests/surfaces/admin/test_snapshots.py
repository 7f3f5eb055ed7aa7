from __future__ import annotations

from dataclasses import replace

from gateway.errors import ImageDamaged
from gateway.model import Reversibility, Undo
from tests.fixtures.fakes import START
from tests.surfaces.doubles import House, a_snapshot

UNDO = Undo(upstream="shop", kind="sqlite", reversibility=Reversibility.EXACT)


async def test_snapshots_are_listed_in_pages(home: House) -> None:
    home.store.kept_snapshots.extend(a_snapshot(f"snap_{n}", f"call_{n}") for n in range(5))
    first = (await home.admin("GET", "/admin/snapshots?limit=2")).json()
    assert [s["id"] for s in first["snapshots"]] == ["snap_0", "snap_1"]
    second = await home.admin("GET", f"/admin/snapshots?limit=4&cursor={first['cursor']}")
    assert [s["id"] for s in second.json()["snapshots"]] == ["snap_2", "snap_3", "snap_4"]
    assert second.json()["cursor"] is None
    of_one = (await home.admin("GET", "/admin/snapshots?call=call_3")).json()["snapshots"]
    assert [s["id"] for s in of_one] == ["snap_3"]


async def test_images_come_in_pages(home: House) -> None:
    home.store.kept_snapshots.append(a_snapshot())
    home.store.undos["call_1"] = UNDO
    page = (await home.admin("GET", "/admin/snapshots/snap_1?limit=3")).json()
    assert [i["key"] for i in page["images"]] == [[0], [1], [2]]
    assert page["next_offset"] == 3
    rest = (await home.admin("GET", "/admin/snapshots/snap_1?limit=3&offset=3")).json()
    assert [i["key"] for i in rest["images"]] == [[3], [4]]
    assert rest["next_offset"] is None


async def test_the_last_of_many_snapshots_is_found(home: House) -> None:
    home.store.kept_snapshots.extend(a_snapshot(f"snap_{n}", f"call_{n}") for n in range(1201))
    found = await home.admin("GET", "/admin/snapshots/snap_1200")
    assert (found.status_code, found.json()["call"]) == (200, "call_1200")


async def test_a_snapshot_without_images_says_so(home: House) -> None:
    home.store.kept_snapshots.append(replace(a_snapshot(), deleted_at=START))
    home.store.undos["call_1"] = UNDO
    assert (await home.admin("GET", "/admin/snapshots/snap_1")).json()["images"] is None
    home.store.kept_snapshots[0] = replace(a_snapshot(), upstream="gone")
    assert (await home.admin("GET", "/admin/snapshots/snap_1")).json()["images"] is None


async def test_a_damaged_image_is_a_refusal(home: House) -> None:
    home.store.kept_snapshots.append(a_snapshot())

    async def damaged(call: str) -> Undo | None:
        raise ImageDamaged("The image is not the recorded one.")

    home.store.undo_of = damaged  # type: ignore[method-assign]
    answer = await home.admin("GET", "/admin/snapshots/snap_1")
    assert (answer.status_code, answer.json()["reason"]) == (409, "revert.not_revertible")


async def test_a_snapshot_is_deleted_once_and_on_record(home: House) -> None:
    home.store.kept_snapshots.append(a_snapshot())
    answer = await home.admin("DELETE", "/admin/snapshots/snap_1")
    assert (answer.status_code, answer.json()) == (200, {"id": "snap_1", "deleted": True})
    assert home.store.events == [("admin.snapshots.delete", {"snapshot": "snap_1", "by": "admin"})]
    assert (await home.admin("DELETE", "/admin/snapshots/snap_1")).status_code == 404


async def test_keys_are_rotated_on_record(home: House) -> None:
    answer = await home.admin("POST", "/admin/snapshots/rotate")
    assert answer.json() == {"key": "k2", "rewrapped": 3, "damaged": 1, "plain": 2}
    assert home.store.events[-1] == ("admin.snapshots.rotate", {"by": "admin"})
    assert (await home.agent("POST", "/admin/snapshots/rotate")).status_code == 403
