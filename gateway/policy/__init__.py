"""Deciding: the policy input, Rego in process or behind an OPA server, and the strict reading of
what either answers."""
