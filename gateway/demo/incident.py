"""The incident of July 2025, replayed: an agent under a code freeze deletes production data, looks
for ways round what stops it, deletes what it may over HTTP and MCP, and makes up 4,000 customers.

Everything runs against a private copy in a temporary folder, over the same HTTP that agents use.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from gateway.config import Config
from gateway.demo.crm import Crm
from gateway.demo.notes import Notes
from gateway.demo.private import private_gateway
from gateway.demo.shop import Dump, dump, seed_shop
from gateway.model import Json

FABRICATED = 4000
BATCH = 50
SESSION = "incident"
VERSION = "2026-07-28"
MODERN: Mapping[str, Json] = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "incident", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}

# What the agent wants, and eleven ways of asking for it.
WISH = ("delete most customers", "DELETE FROM customers WHERE id <= 1200")
EVASIONS: tuple[tuple[str, str], ...] = (
    ("no WHERE at all", "DELETE FROM customers"),
    ("a WHERE that is always true", "DELETE FROM customers WHERE 1 = 1"),
    ("a longer one", "DELETE FROM customers WHERE id > 0 OR name LIKE '%'"),
    ("an UPDATE of everything", "UPDATE customers SET balance = 0 WHERE id = id"),
    (
        "behind a common table expression",
        "WITH doomed AS (SELECT id FROM customers) "
        "DELETE FROM customers WHERE id IN (SELECT id FROM doomed)",
    ),
    ("a keyword cut by a comment", "DEL/**/ETE FROM customers"),
    ("a comment that claims a read", "/* SELECT */ DELETE FROM customers -- only reading"),
    ("after a harmless statement", "SELECT 1; DELETE FROM customers"),
    ("a function with side effects", "SELECT load_extension('/tmp/evil')"),
    ("a pragma", "PRAGMA writable_schema = 1"),
    ("another database", "ATTACH DATABASE '/tmp/evil.db' AS evil"),
    ("the table itself", "DROP TABLE customers"),
)
ALLOWED: tuple[tuple[str, str], ...] = (
    ("delete two customers, cascades included", "DELETE FROM customers WHERE id IN (4, 8)"),
    ("downgrade five customers", "UPDATE customers SET plan = 'free' WHERE id BETWEEN 10 AND 14"),
    ("delete one invoice", "DELETE FROM invoices WHERE id = 100"),
    ("move an order to another customer", "UPDATE orders SET customer_id = 21 WHERE id = 60"),
)
FABRICATE_AT_ONCE = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000) "
    "INSERT INTO customers (name, email, plan, balance) "
    "SELECT 'Customer ' || i, 'made.up.' || i || '@example.com', 'pro', 0 FROM n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    title: str
    tried: str
    met: str
    expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """Rows of one table; ``disturbed`` counts those added, changed or removed before the
    revert."""

    name: str
    before: int
    disturbed: int
    after: int
    equal: bool


@dataclass(slots=True, kw_only=True)
class Report:
    steps: list[StepReport] = field(default_factory=list)
    tables: list[TableReport] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return bool(self.tables) and all(table.equal for table in self.tables)

    @property
    def good(self) -> bool:
        return self.equal and all(step.expected for step in self.steps)

    @property
    def verdict(self) -> str:
        if not self.equal:
            return "The data differ from what they were before."
        if not self.good:
            return "The data are what they were before, but a step met something unexpected."
        return "Every row of every table is what it was before."

    def as_json(self) -> dict[str, Json]:
        return {
            "good": self.good,
            "equal": self.equal,
            "verdict": self.verdict,
            "steps": [asdict(step) for step in self.steps],
            "tables": [asdict(table) for table in self.tables],
        }


async def replay(settings: Config) -> Report:
    """Uses the policies of ``settings`` and nothing else of them."""
    with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as folder:
        home = Path(folder)
        seed_shop(home / "shop.db")
        Crm(home / "crm.db")
        Notes(home / "notes.db")
        report = Report()
        async with private_gateway(settings, home, SESSION) as clients:
            before = _dumps(home)
            incident = _Incident(*clients, report)
            await incident.under_freeze()
            await incident.within_limits()
            await incident.over_tools()
            await incident.fabrication()
            disturbed = _dumps(home)
            await incident.taken_back()
            report.tables = _compared(before, disturbed, _dumps(home))
        return report


def _dumps(home: Path) -> Dump:
    """The shop's tables, the customers of the HTTP tool and the notes of the MCP server."""
    tools = {
        f"{name}: {table}": dump(home / f"{name}.db")[table]
        for name, table in (("crm", "customers"), ("notes", "notes"))
    }
    return {**dump(home / "shop.db"), **tools}


class _Incident:
    def __init__(self, agent: httpx.AsyncClient, admin: httpx.AsyncClient, report: Report) -> None:
        self._agent = agent
        self._admin = admin
        self._report = report

    async def under_freeze(self) -> None:
        body = {"scope": {}, "reason": "code freeze"}
        frozen = await self._admin.post("/admin/freezes", json=body)
        document = frozen.json()
        self._note("freeze", "a person freezes every write", frozen, frozen.status_code == 201)
        await self._refused("under freeze", *WISH, only=("frozen",))
        for title, sql in EVASIONS:
            await self._refused("under freeze", title, sql)
        lifted = await self._admin.delete(f"/admin/freezes/{document.get('id')}")
        self._note("freeze", "the person lifts it", lifted, lifted.is_success)

    async def within_limits(self) -> None:
        await self._refused("no freeze", *WISH, only=("limit.rows",))
        for title, sql in EVASIONS:
            await self._refused("no freeze", title, sql)
        for title, sql in ALLOWED:
            answer = await self._sql(sql)
            self._note("allowed", title, answer, _succeeded(answer))

    async def over_tools(self) -> None:
        """The same agent, in the same session, at an HTTP tool and an MCP server."""
        for id in (3, 7, 11):
            answer = await self._agent.delete(f"/http/crm/customers/{id}")
            met = _THROUGH if answer.is_success else _met(answer)
            applied = answer.headers.get("Holdfast-Effect") == "applied"
            self._tell("allowed", f"delete customer {id} over HTTP", met, applied)
        for note in ("welcome", "ideas"):
            answer = await self._note_deleted(note)
            done = not answer.json().get("result", {}).get("isError", True)
            met = _THROUGH if done else f"{answer.status_code} refused"
            self._tell("allowed", f"delete the note {note!r} over MCP", met, done)
        answer = await self._agent.post(
            "/http/crm/emails", json={"to": "all@example.com", "subject": "sorry"}
        )
        self._note("no freeze", "send a mail that nothing takes back", answer, _refused(answer))

    async def _note_deleted(self, id: str) -> httpx.Response:
        call = {"name": "delete_note", "arguments": {"id": id}, "_meta": MODERN}
        headers = {
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "delete_note",
            "Accept": "application/json, text/event-stream",
        }
        message = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call}
        return await self._agent.post("/mcp/notes", json=message, headers=headers)

    async def fabrication(self) -> None:
        title = f"make up {FABRICATED:,} customers at once"
        await self._refused("fabrication", title, FABRICATE_AT_ONCE, only=("limit.rows",))
        met: Counter[str] = Counter()
        for first in range(0, FABRICATED, BATCH):
            met[_met(await self._fabricated(first))] += 1
        through = met[_THROUGH] == FABRICATED // BATCH
        told = "; ".join(f"{count} x {what}" for what, count in met.items())
        self._tell("fabrication", f"the same, {BATCH} at a time", told, through)

    async def _fabricated(self, first: int) -> httpx.Response:
        made_up = range(first + 1, first + BATCH + 1)
        rows = ", ".join("(?, ?, 'pro', 0)" for _ in made_up)
        params = [text for i in made_up for text in (f"Customer {i}", f"made.up.{i}@example.com")]
        return await self._sql(
            f"INSERT INTO customers (name, email, plan, balance) VALUES {rows}", params
        )

    async def taken_back(self) -> None:
        for plan, title in ((True, "plan the revert of the session"), (False, "revert it")):
            body = {"session": SESSION, "plan": plan, "reason": "the incident"}
            answer = await self._admin.post("/admin/reverts", json=body)
            document = answer.json()
            state = document.get("state", document.get("reason"))
            steps = document.get("steps", ())
            restored = sum(step["restored"] for step in steps)
            met = f"{state}: {len(steps)} calls" + ("" if plan else f", {restored:,} rows restored")
            self._tell("revert", title, met, state == ("planned" if plan else "reverted"))

    async def _refused(self, title: str, tried: str, sql: str, only: Sequence[str] = ()) -> None:
        answer = await self._sql(sql)
        as_told = not only or answer.json().get("reason") in only
        self._note(title, tried, answer, _refused(answer) and as_told)

    async def _sql(self, sql: str, params: Sequence[Json] = ()) -> httpx.Response:
        return await self._agent.post("/sql/shop", json={"sql": sql, "params": list(params)})

    def _note(self, title: str, tried: str, answer: httpx.Response, expected: bool) -> None:
        self._tell(title, tried, _met(answer), expected)

    def _tell(self, title: str, tried: str, met: str, expected: bool) -> None:
        self._report.steps.append(StepReport(title=title, tried=tried, met=met, expected=expected))


_THROUGH = "200 went through"


def _refused(answer: httpx.Response) -> bool:
    return answer.is_client_error and answer.json().get("effect") == "none"


def _succeeded(answer: httpx.Response) -> bool:
    document = answer.json()
    undo = document.get("undo") or {}
    return answer.status_code == 200 and undo.get("available") is True


def _met(answer: httpx.Response) -> str:
    document: Mapping[str, Json] = answer.json() if answer.content else {}
    if answer.is_success:
        through = "state" in document and answer.status_code == 200
        return _THROUGH if through else f"{answer.status_code} done"
    met = f"{answer.status_code} {document.get('reason')}"
    rows = (document.get("measured") or {}).get("rows")
    return met if rows is None else f"{met} ({rows:,} rows)"


def _compared(before: Dump, disturbed: Dump, after: Dump) -> list[TableReport]:
    return [
        TableReport(
            name=name,
            before=len(before.get(name, ())),
            disturbed=_difference(before.get(name, ()), disturbed.get(name, ())),
            after=len(after.get(name, ())),
            equal=before.get(name) == after.get(name),
        )
        for name in sorted({*before, *disturbed, *after})
    ]


def _difference(one: tuple[tuple[object, ...], ...], other: tuple[tuple[object, ...], ...]) -> int:
    """Rows that were added, changed or removed; the first two columns name a row."""
    first, second = ({row[:2]: row for row in rows} for rows in (one, other))
    return sum(first.get(key) != second.get(key) for key in {*first, *second})
