# The decision. The gateway asks for `decision` and for nothing else.
#
# Any `deny` refuses the call. Otherwise any `hold` makes it wait for a person. Otherwise it is
# allowed, within the obligations. Every file in this folder adds its own reasons to `deny` and
# `hold`; a file never has to know the others.
package gateway

import rego.v1

default decision := {
	"allow": false,
	"hold": false,
	"reasons": ["the policies came to no decision"],
	"obligations": {},
}

decision := {"allow": false, "hold": false, "reasons": deny, "obligations": {}} if {
	count(deny) > 0
} else := {"allow": false, "hold": true, "reasons": hold, "obligations": obligations} if {
	everything_granted
	not approved
	count(hold) > 0
} else := {"allow": true, "hold": false, "reasons": [], "obligations": obligations} if {
	everything_granted
}

# A person said yes to exactly this call. That ends a hold; it never lifts a deny.
approved if input.context.approval.state == "approved"

deny contains "the caller has no role" if count(input.subject.roles) == 0

deny contains "it is not known what the call would do" if {
	count(input.action.effects) == 0
	not touches_nothing
}

# A proven read without any table, such as SELECT 1.
touches_nothing if {
	input.action.class == "read"
	count(input.action.effects) == 0
}
