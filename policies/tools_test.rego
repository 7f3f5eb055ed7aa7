package gateway_test

import rego.v1

# A call to the tool `crm` in production with these effects.
at_crm(roles, class, effects) := object.union(
	call(roles, "crm", "production", class, effects),
	{
		"action": {"surface": "http", "sql": null, "http": {"method": "GET", "path": "/"}},
		"resource": {"type": "http_tool"},
	},
)

route(verb, name) := {
	"verb": verb,
	"kind": "route",
	"name": name,
	"columns": [],
	"bounded": true,
}

test_a_developer_may_delete_a_customer_over_http if {
	doc := at_crm(["developer"], "destructive", [route("delete", "crm DELETE /customers/{id}")])
	got := data.gateway.decision with input as doc
	got.allow
}

test_a_reader_may_only_read_over_http if {
	reading := at_crm(["reader"], "read", [route("read", "crm GET /customers/{id}")])
	writing := at_crm(["reader"], "write", [route("create", "crm POST /customers")])
	first := data.gateway.decision with input as reading
	second := data.gateway.decision with input as writing
	first.allow
	not second.allow
	second.reasons == {"no role of the caller may create crm POST /customers on crm"}
}

test_what_is_not_declared_needs_a_grant_of_its_verb if {
	doc := at_crm(["developer"], "write", [route("call", "crm GET *")])
	got := data.gateway.decision with input as doc
	not got.allow
}

test_a_grant_for_tables_covers_no_route if {
	doc := at_crm(["nobody"], "write", [route("update", "crm PUT /customers/{id}")])
	got := data.gateway.decision with input as doc
	not got.allow
	grant := {"sources": ["*"], "tables": ["*"], "verbs": ["update"]}
	updating := route("update", "crm PUT /customers/{id}")
	not data.gateway.covers(grant, updating)
}

test_what_cannot_be_undone_needs_a_grant_that_says_so if {
	mailing := at_crm(["maintainer"], "write", [route("create", "crm POST /emails")])
	without := data.gateway.decision with input as mailing
	not without.obligations.irreversible
	agreed := {"roles": {"maintainer": [{
		"tools": ["crm"],
		"routes": ["POST /emails"],
		"verbs": ["create"],
		"irreversible": true,
	}]}}
	given := data.gateway.decision with input as mailing with data.roles as agreed.roles
	given.allow
	given.obligations.irreversible
}

test_every_field_of_a_graphql_request_needs_a_grant if {
	asked := {
		"verb": "call", "kind": "graphql", "name": "crm mutation volumeDelete",
		"columns": [], "bounded": true,
	}
	doc := at_crm(["developer"], "write", [route("create", "crm POST /graphql"), asked])
	got := data.gateway.decision with input as doc
	not got.allow
	got.reasons == {"no role of the caller may call crm mutation volumeDelete on crm"}
}

test_the_name_of_a_route_is_not_taken_for_a_closed_table if {
	doc := at_crm(["developer"], "read", [route("read", "crm GET /a.pg_class")])
	got := data.gateway.decision with input as doc
	got.allow
}
