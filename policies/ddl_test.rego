package gateway_test

import rego.v1

test_agents_do_not_change_the_schema_in_production if {
	adding := [effect("alter", "public.items", true)]
	doc := call(["developer"], "app", "production", "ddl", adding)
	got := data.gateway.decision with input as doc
	not got.allow
	not got.hold
	got.reasons == {"the schema of this environment is not changed by agents"}
}

test_elsewhere_a_person_has_to_agree if {
	adding := [effect("create", "public.items", true)]
	doc := call(["developer"], "app", "development", "ddl", adding)
	got := data.gateway.decision with input as doc
	got.hold
}

test_drop_and_truncate_are_for_nobody if {
	every verb in ["drop", "truncate"] {
		removing := [effect(verb, "public.items", false)]
		doc := call(["maintainer"], "app", "development", "ddl", removing)
		got := data.gateway.decision with input as doc
		got.allow == false
		got.hold == false
	}
}

test_a_statement_named_drop_is_denied_whatever_its_effects if {
	doc := developer("read", [effect("select", "main.orders", true)])
	dropping := object.union(doc, {"action": {"sql": {"statements": [{
		"verb": "drop",
		"tables": [],
		"functions": [],
		"bounded": true,
	}]}}})
	got := data.gateway.decision with input as dropping
	not got.allow
}
