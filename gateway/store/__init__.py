"""Our memory. The moves are written once, over ``tables.Tables``; SQLite and memory keep them."""

from __future__ import annotations
