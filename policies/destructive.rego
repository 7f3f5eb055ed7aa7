# Changes: how much one call may touch, and what happens without a bound.
package gateway

import rego.v1

changing if input.action.class != "read"

changing if {
	some effect in input.action.effects
	effect.verb in ["insert", "update", "delete", "merge"]
}

# Statements that nothing limits: DELETE or UPDATE of a whole table.
unbounded contains effect.name if {
	some effect in input.action.effects
	effect.verb in ["delete", "update", "merge"]
	not effect.bounded
}

deny contains reason if {
	some name in unbounded
	care.without_bound != "hold"
	not trusted
	reason := sprintf("nothing limits how many rows of %s would change", [name])
}

hold contains reason if {
	some name in unbounded
	reason := sprintf("nothing limits how many rows of %s would change", [name])
}

# What code does is known only once it has run.
hold contains reason if {
	some effect in input.action.effects
	effect.verb == "execute"
	reason := sprintf("a person has to agree that %s is run", [effect.name])
}

# What an allowed call has to keep to. The gateway measures it while the change can still be taken
# back.
obligations := object.union(within, {"irreversible": true}) if {
	changing
	irreversible_agreed
} else := object.union(within, {"rehearse": true}) if {
	changing
	input.action.class in ["destructive", "ddl", "admin"]
	input.resource.type in care.rehearse
} else := within if {
	changing
} else := {}

within := {
	"max_rows": care.max_rows,
	"max_share": care.max_share,
	"approvers": data.approvals.approvers,
	"approval_ttl": data.approvals.ttl,
}

# Measured already and too large: refused here as well as by the gateway.
deny contains reason if {
	changing
	input.context.measured.rows > care.max_rows
	reason := sprintf("%d rows would change; at most %d are allowed here", [
		input.context.measured.rows,
		care.max_rows,
	])
}

deny contains "too large a part of one table would change" if {
	changing
	input.context.measured.share > care.max_share
}
