"""Holdfast: agents call tools through this gateway, and people can take it back.

One walk for every call (``pipeline``), one walk back (``revert``), and ``recovery`` for what a
crash left open. ARCHITECTURE.md tells the house; ``app`` puts it together.
"""

__version__ = "0.1.0"
