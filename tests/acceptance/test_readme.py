"""What the README tells people to paste does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.fixtures.serving import ROOT, served


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_every_snippet_of_the_readme_gives_what_it_promises(tmp_path: Path) -> None:
    snippets = blocks("sh")
    assert len(snippets) >= 4
    with served(tmp_path) as gateway:
        environ = {**gateway.environ, "HOLDFAST_URL": gateway.url}
        for snippet in snippets:
            script = snippet.replace("http://127.0.0.1:8400", gateway.url)
            script = script.replace(".venv/bin/holdfast", f"{sys.executable} -m gateway")
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=ROOT,
                env=environ,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr + done.stdout
            for promised in re.findall(r"^# expect: (.*)$", snippet, re.MULTILINE):
                assert promised in done.stdout, f"{promised!r} is not in:\n{done.stdout}"


def test_the_yaml_of_the_readme_is_valid_configuration(tmp_path: Path) -> None:
    from gateway.config import parse

    environ = {
        "HOLDFAST_ADMIN_TOKEN": "an admin token".replace(" ", "-"),
        "APP_DATABASE_URL": "postgresql://agent@127.0.0.1/app",
    }
    for text in blocks("yaml"):
        whole = 'identity: {admin_token: "${HOLDFAST_ADMIN_TOKEN}"}\n' + text
        assert "app" in parse(whole, environ, file="README.md").sources
