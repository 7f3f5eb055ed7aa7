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
