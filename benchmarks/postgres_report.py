"""The figures of PostgreSQL's benchmark as tables, beside what was aimed at."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass
class Line:
    """One statement at one size; seconds, bytes."""

    what: str
    rows: int
    plain: list[float] = field(default_factory=list)
    guarded: list[float] = field(default_factory=list)
    plain_cpu: list[float] = field(default_factory=list)
    guarded_cpu: list[float] = field(default_factory=list)
    plain_wal: list[float] = field(default_factory=list)
    guarded_wal: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    reverts: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=dict)


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:,.1f}" if seconds else "-"


def _ratio(over: list[float], under: list[float]) -> str:
    pairs = [a / b for a, b in zip(over, under, strict=True) if b > 0]
    return f"{statistics.median(pairs):.2f}" if pairs else "-"


def table(title: str, lines: list[Line]) -> list[str]:
    rows = [
        f"| {r.what} | {r.rows:,} | {_ms(r.plain)} | {_ms(r.guarded)} "
        f"| {_ratio(r.guarded, r.plain)} | {_ms(r.plain_cpu)} | {_ms(r.guarded_cpu)} "
        f"| {_ratio(r.guarded_wal, r.plain_wal)} "
        f"| {f'{statistics.median(r.stored):.0f}' if r.stored else '-'} | {_ms(r.reverts)} "
        f"| {max(r.resident, default=0) / 1e6:.0f} |"
        for r in lines
    ]
    head = [
        "| statement | rows | plain ms | guarded ms | ratio | plain CPU ms | guarded CPU ms "
        "| WAL ratio | stored bytes/row | revert ms | peak MB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return [f"## {title}", "", *head, *rows, "", *profile(lines)]


def profile(lines: list[Line]) -> list[str]:
    """Where the time goes, as far as it was looked at."""
    looked = [line for line in lines if line.steps]
    if not looked:
        return []
    return [
        "Where the time of a guarded statement goes: running it and asking what it changed;",
        "finding, copying and storing the images; and the commit.",
        "",
        "| statement | rows | plain ms | run ms | capture ms | commit ms |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {r.what} | {r.rows:,} | {_ms(r.plain)} | "
            + " | ".join(_ms(r.steps[step]) for step in ("run", "capture", "commit"))
            + " |"
            for r in looked
        ),
        "",
    ]


_WHY = """\
What keeps it from the aims. One row: six round trips where the plain statement needs one, and
three queries beside it: of counters and locks, of the catalog, and for the versions. Large
statements: the server makes the rows of an image, the gateway takes them from libpq, hashes and
packs them, and both need about as much CPU time per row, which is more than a DELETE itself
needs; so two cores are full. An UPDATE has two images of each row, the second copied by its own
connection after the first. Reverts: a fourth is loading the images into temporary tables, nearly
all of the rest the statement that writes the rows back."""


def aims(lines: list[Line]) -> list[str]:
    """What was aimed at, and what was reached."""
    rows: list[tuple[str, str, float, float]] = []
    for line in lines:
        ratio = statistics.median(g / p for g, p in zip(line.guarded, line.plain, strict=True))
        took = statistics.median(line.guarded)
        name = f"{line.what} of {line.rows:,}"
        if line.rows == 1:
            added = (took - statistics.median(line.plain)) * 1000
            rows.append((f"{name}, added", "ms", 1.0, added))
        elif line.what in ("UPDATE", "DELETE"):
            rows.append((f"{name}, ratio", "", {"UPDATE": 1.15, "DELETE": 2.5}[line.what], ratio))
            rows.append((f"{name}, stored", "bytes/row", 40.0, statistics.median(line.stored)))
        if line.rows == 100_000:
            rows.append((f"revert of {name}", "s", 1.0, statistics.median(line.reverts)))
        if (line.what, line.rows) == ("DELETE", 1_000_000):
            rows.append((name, "s", 1.2, took))
    return [
        "## Aims",
        "",
        "| of the mechanism alone | aim | reached | |",
        "|---|---:|---:|---|",
        *(
            f"| {what} | {aim:g} {unit} | {reached:.2f} {unit} | {'' if reached <= aim else 'no'} |"
            for what, unit, aim, reached in rows
        ),
        "",
        *_WHY.splitlines(),
        "",
    ]
