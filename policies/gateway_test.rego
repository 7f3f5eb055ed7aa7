package gateway_test

import rego.v1

test_a_granted_read_is_allowed if {
	doc := developer("read", [effect("select", "main.customers", true)])
	got := data.gateway.decision with input as doc
	got == {"allow": true, "hold": false, "reasons": [], "obligations": {}}
}

test_nothing_is_allowed_without_a_call if {
	got := data.gateway.decision with input as {}
	not got.allow
	not got.hold
}

test_a_read_of_no_table_is_allowed if {
	got := data.gateway.decision with input as developer("read", [])
	got.allow
}

test_a_write_without_known_effects_is_denied if {
	doc := developer("write", [])
	got := data.gateway.decision with input as doc
	not got.allow
	"it is not known what the call would do" in got.reasons
}

test_a_caller_without_roles_is_denied if {
	reading := [effect("select", "main.customers", true)]
	doc := call([], "shop", "production", "read", reading)
	got := data.gateway.decision with input as doc
	not got.allow
	"the caller has no role" in got.reasons
}

test_an_approval_ends_a_hold if {
	removing := [effect("delete", "main.orders", false)]
	doc := call(["maintainer"], "shop", "production", "destructive", removing)
	before := data.gateway.decision with input as doc
	after := data.gateway.decision with input as approved(doc)
	before.hold
	after.allow
}

test_an_approval_does_not_lift_a_deny if {
	doc := developer("destructive", [effect("delete", "main.orders", false)])
	got := data.gateway.decision with input as approved(doc)
	not got.allow
	not got.hold
}
