"""What stands in front of the upstream: nothing, nginx, the gateway, FastMCP's proxy, ContextForge.

Each runs in a process of its own on one core; the load and the upstream share the other one. The
peers are installed from PyPI into environments of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from benchmarks.mcp_peers.load import Target
from tests.fixtures.serving import AGENT, environment

ROOT = Path(__file__).resolve().parents[2]
FASTMCP = "fastmcp==4.2.3"
CONTEXTFORGE = "mcp-contextforge-gateway==1.0.7.post20260921"
START_S = 90.0
_PASSWORD = "Bench-Mark-2026!x"
_PROXY = """
import sys
from fastmcp.server import create_proxy
create_proxy(sys.argv[1]).run(
    transport="http", host="127.0.0.1", port=int(sys.argv[2]),
    stateless_http=True, json_response=True, show_banner=False,
)
"""
_POLICY = """package gateway

import rego.v1

decision := {"allow": true, "hold": false, "reasons": [], "obligations": {}} if {
	input.action.surface == "mcp"
	input.action.class == "read"
	"bench" in input.subject.roles
}

default decision := {"allow": false, "hold": false, "reasons": ["no"], "obligations": {}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextlib.contextmanager
def process(
    command: list[str | Path], core: int, environ: Mapping[str, str], cwd: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    pinned = ["taskset", "-c", str(core), *map(str, command)]
    quiet = subprocess.DEVNULL
    started = subprocess.Popen(pinned, env=dict(environ), cwd=cwd, stdout=quiet, stderr=quiet)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def answering(url: str, method: str = "POST") -> None:
    """Waits until something answers there, whatever it says."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            httpx.request(method, url, timeout=2, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"nothing answers at {url}")


def installed(folder: Path, package: str) -> Path:
    """The environment's ``bin``, made when it is not there."""
    if not (folder / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", package], check=True)
    return folder / "bin"


@contextlib.contextmanager
def upstream(core: int) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.mcp_peers.upstream", str(port)]
    with process(command, core, os.environ):
        url = f"http://127.0.0.1:{port}/mcp"
        answering(url, "GET")
        yield url


@contextlib.contextmanager
def nginx(url: str, core: int, folder: Path) -> Iterator[Target]:
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  upstream up {{ server {httpx.URL(url).netloc.decode()}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    with process([binary, "-c", config, "-p", folder], core, os.environ):
        target = Target(name="nginx proxy_pass", url=f"http://127.0.0.1:{port}/mcp")
        answering(target.url, "GET")
        yield target


@contextlib.contextmanager
def holdfast(url: str, core: int, folder: Path) -> Iterator[Target]:
    port = free_port()
    policies = folder / "policies"
    policies.mkdir()
    (policies / "gateway.rego").write_text(_POLICY)
    config = folder / "config.yaml"
    config.write_text(
        f"""
store: {{url: "sqlite:///{folder}/store.db"}}
policy: {{path: "{policies}", watch: false}}
snapshots: {{path: "{folder}/snapshots"}}
identity:
  admin_token: "${{HOLDFAST_ADMIN_TOKEN}}"
  agents: [{{name: bench, token: "${{HOLDFAST_AGENT_TOKEN}}", roles: [bench]}}]
mcp_servers:
  up: {{url: "{url}", tools: {{echo: {{class: read}}}}}}
telemetry: {{log_level: error}}
"""
    )
    command = [sys.executable, "-m", "gateway", "serve", "--config", config, "--port", str(port)]
    with process(command, core, environment(folder)):
        answering(f"http://127.0.0.1:{port}/healthz", "GET")
        yield Target(
            name="Holdfast",
            url=f"http://127.0.0.1:{port}/mcp/up",
            headers={"Authorization": f"Bearer {AGENT}"},
            modern=True,
        )


@contextlib.contextmanager
def fastmcp(url: str, core: int, folder: Path, environments: Path) -> Iterator[Target]:
    port = free_port()
    program = folder / "proxy.py"
    program.write_text(_PROXY)
    python = installed(environments / "fastmcp", FASTMCP) / "python"
    with process([python, program, url, str(port)], core, os.environ, folder):
        target = Target(name=f"FastMCP proxy ({FASTMCP})", url=f"http://127.0.0.1:{port}/mcp")
        answering(target.url)
        yield target


@contextlib.contextmanager
def contextforge(url: str, core: int, folder: Path, environments: Path) -> Iterator[Target]:
    port = free_port()
    binary = installed(environments / "contextforge", CONTEXTFORGE) / "mcpgateway"
    environ = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{folder}/contextforge.db",
        "JWT_SECRET_KEY": "benchmark-key-0123456789-0123456789-ABC",
        "AUTH_ENCRYPTION_SECRET": "benchmark-salt-0123456789-0123456789",
        "PLATFORM_ADMIN_PASSWORD": _PASSWORD,
        "ADMIN_REQUIRE_PASSWORD_CHANGE_ON_BOOTSTRAP": "false",
        "PASSWORD_CHANGE_ENFORCEMENT_ENABLED": "false",
        "MCPGATEWAY_UI_ENABLED": "false",
        "SSRF_ALLOW_LOCALHOST": "true",
        "LOG_LEVEL": "ERROR",
        "RATE_LIMITING_ENABLED": "false",  # 100 calls a minute otherwise
        "RATE_LIMIT_LOCKOUT_ENABLED": "false",
    }
    at = ["--host", "127.0.0.1", "--port", str(port)]
    with process([binary, "mcpgateway.main:app", *at], core, environ, folder):
        base = f"http://127.0.0.1:{port}"
        answering(f"{base}/health", "GET")
        with httpx.Client(base_url=base, timeout=30, trust_env=False) as client:
            known = {"email": "admin@example.com", "password": _PASSWORD}
            token = client.post("/auth/email/login", json=known).json()["access_token"]
            bearer = {"Authorization": f"Bearer {token}"}
            server = {"name": "up", "url": url, "transport": "STREAMABLEHTTP"}
            client.post("/gateways", json=server, headers=bearer).raise_for_status()
        yield Target(
            name=f"ContextForge ({CONTEXTFORGE})",
            url=f"{base}/mcp/",
            tool="up-echo",
            headers=bearer,
        )
