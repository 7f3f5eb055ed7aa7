# Calls that the tests are about. Change one thing about a call with object.union.
package gateway_test

import rego.v1

# One call that does `effects` in `environment`, by an agent with `roles`.
call(roles, source, environment, class, effects) := {
	"version": 1,
	"subject": {"id": "demo", "roles": roles, "session": "s", "delegation": []},
	"action": {
		"surface": "sql",
		"tool": source,
		"name": "example",
		"class": class,
		"reversibility": "exact",
		"idempotent": false,
		"digest": "0",
		"effects": effects,
		"sql": {"dialect": "sqlite", "text": "...", "statements": [], "params": []},
		"http": null,
		"mcp": null,
	},
	"resource": {"type": "sqlite", "id": source, "environment": environment, "labels": {}},
	"context": {
		"time": "2026-11-24T10:00:00Z",
		"freezes": [],
		"measured": null,
		"counters": {},
		"reason": null,
		"approval": null,
	},
}

effect(verb, name, bounded) := {
	"verb": verb,
	"kind": "table",
	"name": name,
	"columns": ["*"],
	"bounded": bounded,
}

# A call of a developer on the shop in production.
developer(class, effects) := call(["developer"], "shop", "production", class, effects)

measured(doc, rows, share) := object.union(doc, {"context": {"measured": {
	"rows": rows,
	"share": share,
	"tables": {},
}}})

approved(doc) := object.union(doc, {"context": {"approval": {"id": "a", "state": "approved"}}})
