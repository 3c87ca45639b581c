"""Where queries run and tables live: `Engine` (DuckDB behind Ibis) and `Lake` (Delta tables, one manifest).

The only room that knows DuckDB and Delta; everything above speaks Ibis expressions and table names.
"""

from huaxiang.engine.duck import Engine
from huaxiang.engine.lake import Lake, Step

__all__ = ["Engine", "Lake", "Step"]
