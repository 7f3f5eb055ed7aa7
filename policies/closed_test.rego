package gateway_test

import rego.v1

closed_names := [
	"main.sqlite_master",
	"sqlite_schema",
	"temp.sqlite_temp_master",
	"main.sqlite_sequence",
	"pg_catalog.pg_class",
	"PG_CATALOG.pg_authid",
	"information_schema.tables",
	"pg_toast.pg_toast_1",
	"main.holdfast_receipts",
	"holdfast.calls",
	"*",
	"",
]

test_catalogs_and_own_tables_are_closed_even_to_read if {
	every name in closed_names {
		doc := developer("read", [effect("select", name, true)])
		got := data.gateway.decision with input as doc
		got.allow == false
	}
}

test_a_statement_that_names_a_closed_table_is_denied if {
	doc := developer("read", [effect("select", "main.orders", true)])
	naming := object.union(doc, {"action": {"sql": {"statements": [{
		"verb": "select",
		"tables": ["main.orders", "main.sqlite_master"],
		"functions": [],
		"bounded": true,
	}]}}})
	got := data.gateway.decision with input as naming
	not got.allow
}

test_ordinary_names_are_open if {
	doc := developer("read", [effect("select", "main.page", true)])
	got := data.gateway.decision with input as doc
	got.allow
}
