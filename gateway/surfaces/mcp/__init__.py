"""``/mcp`` and ``/mcp/{server}``: MCP over streamable HTTP, the current and the previous era."""
