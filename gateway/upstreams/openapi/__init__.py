"""Undo handlers derived from a tool's OpenAPI document: proposals, never trusted unproven."""
