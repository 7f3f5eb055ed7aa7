"""``python -m tests.matrix`` writes ``docs/matrix.md`` and the table of statements in
``docs/schema-changes.md``."""

from __future__ import annotations

from tests.matrix import statements
from tests.matrix.document import DOCUMENT, render

DOCUMENT.write_text(render(), encoding="utf-8")
page = statements.DOCUMENT
page.write_text(statements.written(page.read_text(encoding="utf-8")), encoding="utf-8")
