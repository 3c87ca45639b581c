"""The live store's two databases."""

from stores import database, postgres

__all__ = ["database", "postgres"]
