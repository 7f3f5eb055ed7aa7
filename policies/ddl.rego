# Changes of the schema.
package gateway

import rego.v1

# Verbs that nobody may use (data.yaml, `never`).
deny contains reason if {
	some effect in input.action.effects
	effect.verb in data.never
	reason := sprintf("%s is not for agents", [effect.verb])
}

deny contains reason if {
	some statement in input.action.sql.statements
	statement.verb in data.never
	reason := sprintf("%s is not for agents", [statement.verb])
}

deny contains "the schema of this environment is not changed by agents" if {
	input.action.class in ["ddl", "admin"]
	care.ddl != "hold"
	not trusted
}

hold contains "a person has to agree to a change of the schema" if {
	input.action.class in ["ddl", "admin"]
}
