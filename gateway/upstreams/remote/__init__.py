"""Tools that are reached by a request and have no transaction: HTTP tools and MCP servers.

What both need stands here once: plans, templates, the attempt that sends once, the way back, and
what became of a request whose answer was lost. ``upstreams.http`` and ``upstreams.mcp`` bring their
own parsing and transport.
"""
