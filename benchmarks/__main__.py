"""``python -m benchmarks [sql] [--rounds N] [--sizes 1,1000,100000] [--write]``."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.report import render
from benchmarks.sql import run

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["sql"], default="sql")
    parser.add_argument("--rounds", type=int, default=7, help="pairs per row of the table")
    parser.add_argument("--sizes", default="1,1000,100000", help="rows per statement")
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--write", action="store_true", help="writes docs/benchmarks.md")
    options = parser.parse_args()
    sizes = [int(n) for n in options.sizes.split(",")]
    results = run(options.databases.split(","), sizes, options.rounds)
    text = render(results, options)
    print(text)
    if options.write:
        DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
