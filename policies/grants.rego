# Every effect of the call needs a grant of one of the caller's roles (data.yaml, `roles`).
package gateway

import rego.v1

deny contains reason if {
	some effect in input.action.effects
	not granted(effect)
	reason := sprintf("no role of the caller may %s %s on %s", [
		effect.verb,
		effect.name,
		input.resource.id,
	])
}

# Nothing is allowed because nothing speaks against it: every effect has its grant.
everything_granted if {
	input.version == 1
	count(input.action.effects) > 0
	every effect in input.action.effects {
		granted(effect)
	}
}

# What touches no table needs no grant for one, only a role that is known here.
everything_granted if {
	input.version == 1
	touches_nothing
	some role in input.subject.roles
	data.roles[role]
}

granted(effect) if {
	some role in input.subject.roles
	some grant in data.roles[role]
	covers(grant, effect)
}

covers(grant, effect) if {
	not at_a_tool(effect)
	effect.verb in grant.verbs
	covers_source(grant)
	covers_table(grant, effect.name)
}

covers(grant, effect) if {
	at_a_tool(effect)
	effect.verb in grant.verbs
	covers_tool(grant)
	covers_route(grant, effect.name)
}

# At a tool, without a way back, every effect needs a grant that says `irreversible: true`.
irreversible_agreed if {
	count(input.action.effects) > 0
	every effect in input.action.effects {
		agreed(effect)
	}
}

agreed(effect) if {
	at_a_tool(effect)
	some role in input.subject.roles
	some grant in data.roles[role]
	grant.irreversible == true
	covers(grant, effect)
}

# Effects of HTTP tools are routes and GraphQL fields, not tables of a database.
at_a_tool(effect) if effect.kind in ["route", "graphql"]

# Those of MCP servers are their tools, and what else they are asked for.
at_a_tool(effect) if effect.kind in ["mcp_tool", "mcp_resource", "mcp_prompt", "mcp_completion"]

covers_tool(grant) if "*" in grant.tools

covers_tool(grant) if input.resource.id in grant.tools

covers_route(grant, _) if "*" in grant.routes

# An effect is named after its tool and its route: "crm DELETE /customers/{id}".
covers_route(grant, name) if {
	some route in grant.routes
	name == sprintf("%s %s", [input.resource.id, route])
}

covers_source(grant) if "*" in grant.sources

covers_source(grant) if input.resource.id in grant.sources

covers_table(grant, _) if "*" in grant.tables

covers_table(grant, name) if lower(name) in grant.tables

# "main.*" covers every table of the schema main.
covers_table(grant, name) if {
	schema := split(lower(name), ".")[0]
	sprintf("%s.*", [schema]) in grant.tables
}
