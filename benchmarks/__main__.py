"""``python -m benchmarks [sql|http] [--rounds N] [--sizes 1,1000,100000] [--write]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import clients, http
from benchmarks.report import render
from benchmarks.sql import run

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
HTTP_DOCUMENT = DOCUMENT.with_name("benchmarks-http.md")
_HTTP = """# Benchmarks of HTTP tools

    python -m benchmarks http --rounds {rounds} --seconds {seconds:g} --write

## The hop

A GET of 60 bytes of JSON: directly, through nginx, and through the gateway with policy, audit and
limits on and every call recorded durably. Each reply is checked. CPU is that of the process under
test, per request.

{hop}
## The client

What carries the request from the gateway to the tool, beside two others. The gateway's own client
also finds the route, reads the JSON for templates and makes the record of the call, which is part
of its figure.

{clients}"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["sql", "http"], default="sql")
    parser.add_argument("--rounds", type=int, default=7, help="pairs per row of the table")
    parser.add_argument("--sizes", default="1,1000,100000", help="rows per statement")
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--write", action="store_true", help="writes docs/benchmarks.md")
    parser.add_argument("--seconds", type=float, default=2.0, help="http: of each measurement")
    parser.add_argument("--connections", default="1,8,32", help="http: connections at once")
    options = parser.parse_args()
    if options.what == "http":
        _http(options)
        return
    sizes = [int(n) for n in options.sizes.split(",")]
    results = run(options.databases.split(","), sizes, options.rounds)
    text = render(results, options)
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


def _http(options: argparse.Namespace) -> None:
    connections = [int(n) for n in options.connections.split(",")]
    hop = http.run(options.rounds, options.seconds, connections)
    found = clients.compare(options.rounds, 2000, 16)
    text = _HTTP.format(
        rounds=options.rounds,
        seconds=options.seconds,
        hop=http.render(hop, options.rounds, options.seconds),
        clients=clients.render(found, 16),
    )
    print(text)
    if options.write:
        HTTP_DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
