package gateway_test

import rego.v1

test_developer_may_change_the_shop if {
	doc := developer("write", [effect("update", "main.customers", true)])
	got := data.gateway.decision with input as doc
	got.allow
}

test_one_effect_without_a_grant_is_enough if {
	doc := developer("write", [
		effect("update", "main.customers", true),
		effect("insert", "main.payments", true),
	])
	got := data.gateway.decision with input as doc
	not got.allow
	got.reasons == {"no role of the caller may insert main.payments on shop"}
}

test_reader_may_not_write if {
	writing := [effect("insert", "main.orders", true)]
	doc := call(["reader"], "shop", "production", "write", writing)
	got := data.gateway.decision with input as doc
	not got.allow
}

test_a_grant_counts_for_its_source_only if {
	writing := [effect("insert", "main.orders", true)]
	doc := call(["developer"], "warehouse", "production", "write", writing)
	got := data.gateway.decision with input as doc
	not got.allow
}

test_the_audit_log_is_only_added_to if {
	adding := developer("write", [effect("insert", "main.audit_log", true)])
	changing := developer("write", [effect("update", "main.audit_log", true)])
	first := data.gateway.decision with input as adding
	second := data.gateway.decision with input as changing
	first.allow
	not second.allow
}

test_an_unknown_role_has_no_grants if {
	reading := [effect("select", "main.orders", true)]
	doc := call(["stranger"], "shop", "production", "read", reading)
	got := data.gateway.decision with input as doc
	not got.allow
}

test_table_names_are_compared_without_case if {
	doc := developer("write", [effect("update", "main.Customers", true)])
	got := data.gateway.decision with input as doc
	got.allow
}

test_a_whole_schema_can_be_granted if {
	got := data.gateway.covers_table({"tables": ["main.*"]}, "main.anything")
	got
	not data.gateway.covers_table({"tables": ["main.*"]}, "other.anything")
}
