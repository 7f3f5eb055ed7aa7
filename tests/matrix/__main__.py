"""``python -m tests.matrix`` writes ``docs/matrix.md``."""

from __future__ import annotations

from tests.matrix.document import DOCUMENT, render

DOCUMENT.write_text(render(), encoding="utf-8")
