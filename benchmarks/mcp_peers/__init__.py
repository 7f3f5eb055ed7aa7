"""``python -m benchmarks.mcp_peers [--write]``: MCP calls through the gateway, nginx, FastMCP's
proxy and ContextForge, beside the call sent directly, all in one interleaved run."""
