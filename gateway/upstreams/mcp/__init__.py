"""MCP servers as upstreams: processes of our own (stdio) and streamable HTTP, in both eras of the
protocol."""
