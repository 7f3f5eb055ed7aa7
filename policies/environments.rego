# How careful the environment of the call's target is (data.yaml, `environments`).
package gateway

import rego.v1

# An environment that nobody described is treated as production.
care := object.get(data.environments, input.resource.environment, data.environments.production)

trusted if {
	some role in input.subject.roles
	role in care.trusted
}
