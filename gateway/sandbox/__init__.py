"""Tries what a tool's routes promise against a sandbox: do, undo, and look whether it is undone."""
