# System catalogs and the gateway's own tables, closed to everybody (data.yaml, `closed`).
package gateway

import rego.v1

deny contains reason if {
	some name in named_tables
	closed(name)
	reason := sprintf("%s belongs to the database or to the gateway and is closed", [name])
}

# What the call touches, and what its statements name, even where they only read it.
named_tables contains effect.name if {
	some effect in input.action.effects
	not at_a_tool(effect)
}

named_tables contains table if {
	some statement in input.action.sql.statements
	some table in statement.tables
}

# A table without a name could be any of them.
closed(name) if name in ["", "*"]

closed(name) if {
	some part in split(lower(name), ".")
	part in data.closed.schemas
}

closed(name) if {
	some part in split(lower(name), ".")
	part in data.closed.tables
}

closed(name) if {
	some part in split(lower(name), ".")
	some beginning in data.closed.beginnings
	startswith(part, beginning)
}
