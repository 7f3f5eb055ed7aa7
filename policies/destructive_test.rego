package gateway_test

import rego.v1

test_a_bounded_delete_has_to_stay_small if {
	doc := developer("destructive", [effect("delete", "main.orders", true)])
	got := data.gateway.decision with input as doc
	got.allow
	got.obligations.max_rows == 50
	got.obligations.max_share == 0.2
}

test_the_way_back_of_a_delete_in_production_is_tried if {
	doc := developer("destructive", [effect("delete", "main.orders", true)])
	got := data.gateway.decision with input as doc
	got.obligations.rehearse
}

test_elsewhere_it_is_left_to_the_gateway if {
	updating := developer("write", [effect("update", "main.orders", true)])
	deleting := developer("destructive", [effect("delete", "main.orders", true)])
	of_postgres := object.union(deleting, {"resource": {"type": "postgres"}})
	in_staging := object.union(deleting, {"resource": {"environment": "staging"}})
	every doc in [updating, of_postgres, in_staging] {
		got := data.gateway.decision with input as doc
		got.allow
		object.get(got.obligations, "rehearse", "left") == "left"
	}
}

test_an_unbounded_delete_in_production_is_denied if {
	doc := developer("destructive", [effect("delete", "main.orders", false)])
	got := data.gateway.decision with input as doc
	not got.allow
	not got.hold
	got.reasons == {"nothing limits how many rows of main.orders would change"}
}

test_an_unbounded_update_in_production_is_denied if {
	doc := developer("destructive", [effect("update", "main.orders", false)])
	got := data.gateway.decision with input as doc
	not got.allow
	not got.hold
}

test_a_maintainer_gets_a_hold_instead if {
	removing := [effect("delete", "main.orders", false)]
	doc := call(["maintainer"], "shop", "production", "destructive", removing)
	got := data.gateway.decision with input as doc
	got.hold
	got.obligations.approvers == ["maintainer"]
}

test_elsewhere_an_unbounded_delete_is_held if {
	removing := [effect("delete", "main.orders", false)]
	every environment in ["staging", "development"] {
		doc := call(["developer"], "shop", environment, "destructive", removing)
		got := data.gateway.decision with input as doc
		got.hold
	}
}

test_an_unknown_environment_is_production if {
	removing := [effect("delete", "main.orders", false)]
	doc := call(["developer"], "shop", "somewhere", "destructive", removing)
	got := data.gateway.decision with input as doc
	not got.allow
	not got.hold
}

test_too_many_measured_rows_are_denied if {
	doc := developer("destructive", [effect("delete", "main.orders", true)])
	fits := data.gateway.decision with input as measured(doc, 50, 0.2)
	rows := data.gateway.decision with input as measured(doc, 51, 0.2)
	share := data.gateway.decision with input as measured(doc, 50, 0.21)
	fits.allow
	not rows.allow
	rows.reasons == {"51 rows would change; at most 50 are allowed here"}
	not share.allow
}

test_code_is_run_only_when_a_person_agrees if {
	run := {"verb": "execute", "kind": "function", "name": "public.f", "columns": [], "bounded": false}
	every environment in ["production", "development"] {
		doc := call(["maintainer"], "app", environment, "destructive", [run])
		got := data.gateway.decision with input as doc
		got.hold
		got.reasons == {"a person has to agree that public.f is run"}
		agreed_to := data.gateway.decision with input as approved(doc)
		agreed_to.allow
	}
}

test_what_code_changed_needs_its_own_grant if {
	run := {"verb": "execute", "kind": "function", "name": "public.f", "columns": [], "bounded": false}
	effects := [run, effect("truncate", "public.orders", true)]
	doc := call(["maintainer"], "app", "development", "destructive", effects)
	got := data.gateway.decision with input as measured(approved(doc), 1, 0.1)
	not got.allow
	not got.hold
}
