package gateway_test

import rego.v1

# A call to the MCP server `notes` in production with these effects.
at_notes(roles, class, effects) := object.union(
	call(roles, "notes", "production", class, effects),
	{
		"action": {
			"surface": "mcp",
			"sql": null,
			"mcp": {"server": "notes", "tool": "x", "arguments": {}, "annotations": {}},
		},
		"resource": {"type": "mcp_server"},
	},
)

tool(verb, kind, name) := {
	"verb": verb,
	"kind": kind,
	"name": name,
	"columns": ["*"],
	"bounded": true,
}

test_a_developer_may_delete_a_note if {
	doc := at_notes(["developer"], "destructive", [tool("delete", "mcp_tool", "notes delete_note")])
	got := data.gateway.decision with input as doc
	got.allow
}

test_a_reader_may_only_read_from_a_server if {
	every kind in ["mcp_tool", "mcp_resource", "mcp_prompt", "mcp_completion"] {
		reading := at_notes(["reader"], "read", [tool("read", kind, "notes x")])
		got := data.gateway.decision with input as reading
		got.allow
	}
	writing := at_notes(["reader"], "write", [tool("update", "mcp_tool", "notes write_note")])
	second := data.gateway.decision with input as writing
	second.reasons == {"no role of the caller may update notes write_note on notes"}
}

test_a_tool_that_nobody_declared_needs_a_grant_of_its_own if {
	doc := at_notes(["developer"], "destructive", [tool("call", "mcp_tool", "notes write_note")])
	got := data.gateway.decision with input as doc
	not got.allow
	not got.hold
}
