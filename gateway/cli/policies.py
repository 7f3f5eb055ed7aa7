"""policy test, policy replay: the edited policies on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.arguments import CONFIG, AsJson, ConfigFile, moment
from gateway.cli.recounting import counters_before
from gateway.cli.shell import shell_of
from gateway.config import Config, load, with_tokens
from gateway.guards.limits import Limits, check_extent, tightened
from gateway.model import Allow, Decision, Deny, Json, Measured, RowCounts

if TYPE_CHECKING:
    from gateway.policy.rego import EmbeddedPolicy

app = typer.Typer(no_args_is_help=True, help="Policies: run their tests, replay recorded calls.")
_PATIENCE_S = 10.0  # replaying is not serving: a slow machine must not change the answer


@app.command("test")
def run_tests(context: typer.Context, config: ConfigFile = CONFIG, as_json: AsJson = False) -> None:
    """Compile the policies and run every *_test.rego."""
    shell = shell_of(context)
    settings = load(config, with_tokens(shell.environ).environ)
    policy = _policies(settings)

    async def run() -> Mapping[str, Json]:
        await policy.open()  # PolicyInvalid, with file and line, for faults and failing tests
        return asdict(await policy.test())

    report = asyncio.run(run())
    if as_json:
        shell.document({"revision": policy.revision, **report})
    else:
        shell.printer.line(f"{report['passed']} tests passed; revision {policy.revision}.")


@app.command()
def replay(
    context: typer.Context,
    since: Annotated[str, typer.Option("--since", help="RFC 3339, or 15m, 2h, 1d ago.")],
    config: ConfigFile = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Decide recorded calls again under the policies here, and list what would change."""
    shell = shell_of(context)
    settings = load(config, with_tokens(shell.environ).environ)
    with shell.remote() as remote:
        pages = remote.pages("/admin/calls", "calls", since=moment(since, shell.now), limit=500)
        recorded = list(pages)
    counters = counters_before(recorded)
    replayed = [call for call in recorded if _can_replay(call, settings)]
    revision, decisions = asyncio.run(_decided(settings, replayed, counters))
    changes = [
        {"call": call["call"], "was": was, "becomes": becomes, "reasons": reasons}
        for call, (becomes, reasons) in zip(replayed, decisions, strict=True)
        if (was := _was(call)) != becomes
    ]
    if as_json:
        shell.document(
            {
                "revision": revision,
                "replayed": len(replayed),
                "not_replayed": len(recorded) - len(replayed),
                "changes": changes,
            }
        )
        return
    shell.printer.table(
        ("CALL", "WAS", "BECOMES", "REASONS"),
        [(c["call"], c["was"], c["becomes"], c["reasons"]) for c in changes],
    )
    shell.printer.line(
        f"{len(replayed)} calls decided again, {len(changes)} would change; "
        f"{len(recorded) - len(replayed)} carry no action that policy saw."
    )


def _policies(config: Config) -> EmbeddedPolicy:
    from gateway.policy.rego import EmbeddedPolicy

    return EmbeddedPolicy(Path(config.policy.path), deadline_s=_PATIENCE_S)


def _can_replay(call: Json, config: Config) -> bool:
    # Reverts are not for policy; unparsable calls and gone sources have nothing to decide on.
    known = call.get("tool") in config.sources and not call.get("reverts")
    return bool(call.get("action")) and known


async def _decided(
    config: Config, calls: Iterable[Mapping[str, Json]], counters: Mapping[str, Json]
) -> tuple[str, list[tuple[str, list[str]]]]:
    policy = _policies(config)
    await policy.open()
    found = []
    for call in calls:
        decision = await policy.decide(document_of(call, config, counters[call["call"]]))
        found.append(_weighed(call, decision, config))
    return policy.revision, found


def document_of(
    call: Mapping[str, Json], config: Config, counters: Mapping[str, Json]
) -> dict[str, Json]:
    """The policy input of a recorded call, version 1. The resource is described as it is
    configured now; freezes, which are no matter of policy, are left out."""
    source = config.sources[call["tool"]]
    return {
        "version": 1,
        "subject": {
            "id": call["agent"],
            "roles": call.get("roles") or [],
            "session": call["session"],
            "delegation": [],
        },
        "action": call["action"],
        "resource": {
            "type": "sql",
            "id": call["tool"],
            "environment": source.environment,
            "labels": dict(source.labels),
        },
        "context": {
            "time": call.get("received_at"),
            "freezes": [],
            "measured": call.get("measured"),
            "counters": dict(counters),
            "reason": call.get("reason"),
            "approval": None,
        },
    }


def _weighed(call: Mapping[str, Json], decision: Decision, config: Config) -> tuple[str, list[str]]:
    """The decision's name and reasons, what was measured held against its obligations."""
    if isinstance(decision, Deny):
        return "deny", list(decision.reasons) or [decision.detail]
    measured = call.get("measured") or _refusal(call).get("measured")
    if measured:
        bounds = Limits(max_rows=config.limits.max_rows, max_share=config.limits.max_share)
        tables = {name: RowCounts(**counts) for name, counts in measured["tables"].items()}
        extent = Measured(tables=tables, share=measured["share"])
        over = check_extent(extent, tightened(bounds, decision.obligations))
        if over is not None:
            return "deny", [over.detail]
    return "allow" if isinstance(decision, Allow) else "hold", list(decision.reasons)


def _was(call: Mapping[str, Json]) -> str:
    decision = call.get("decision") or {}
    reason = _refusal(call).get("reason") or decision.get("reason")
    if reason in ("policy.denied", "policy.unavailable", "limit.rows"):
        return "deny"
    # Refused by a guard, or failed in the database: policy had not denied it. What a person let
    # through, policy had held: it is decided again without that person.
    held = call.get("approval") or decision.get("decision") == "hold"
    return "hold" if held else "allow"


def _refusal(call: Mapping[str, Json]) -> Mapping[str, Json]:
    return (call.get("outcome") or {}).get("refusal") or {}
