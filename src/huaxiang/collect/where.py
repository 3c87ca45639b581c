"""`where` of a table: a small predicate over source columns, parsed and written anew, so that nothing else gets through.

Values are text; a comparison with a number compares numbers. `status != 'test'` holds where the status is missing.
"""

from __future__ import annotations

from collections.abc import Callable

from huaxiang.engine.duck import quote
from huaxiang.errors import SourceError

_COMPARE = {"EQ": "=", "NEQ": "IS DISTINCT FROM", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}


def filter_sql(where: str, column_sql: Callable[[str], str]) -> str:
    """The SQL of a `where` filter (a Boolean that is never NULL). `column_sql` gives the SQL of a source column.

    raises: SourceError for anything but comparisons, in, between, like, is null, and, or, not
    """
    from sqlglot import parse_one
    from sqlglot.errors import SqlglotError

    try:
        tree = parse_one(f"SELECT 1 WHERE {where}", dialect="duckdb")
    except SqlglotError as error:
        raise SourceError("collect.where", where=where, part=where) from error
    found = tree.args.get("where")
    if type(tree).__name__ != "Select" or found is None or set(_filled(tree)) - {"expressions", "where", "where_"}:
        raise SourceError("collect.where", where=where, part=where)
    return f"coalesce(({_Filter(where, column_sql).boolean(found.this)}), false)"


def _filled(tree: object) -> list[str]:
    return [name for name, value in getattr(tree, "args", {}).items() if value]


class _Filter:
    def __init__(self, where: str, column_sql: Callable[[str], str]) -> None:
        self.where = where
        self.column_sql = column_sql

    def boolean(self, node: object) -> str:
        kind = type(node).__name__
        args = getattr(node, "args", {})
        if kind in ("And", "Or"):
            return f"({self.boolean(args['this'])} {kind.upper()} {self.boolean(args['expression'])})"
        if kind == "Not":
            return f"(NOT coalesce({self.boolean(args['this'])}, false))"
        if kind == "Paren":
            return f"({self.boolean(args['this'])})"
        if kind in _COMPARE:
            number = self.is_number(args["this"]) or self.is_number(args["expression"])
            return f"({self.value(args['this'], number)} {_COMPARE[kind]} {self.value(args['expression'], number)})"
        if kind == "Is" and type(args["expression"]).__name__ == "Null":
            return f"({self.value(args['this'], False)} IS NULL)"
        if kind == "In" and args.get("expressions") and not args.get("query"):
            number = any(map(self.is_number, args["expressions"]))
            values = ", ".join(self.value(value, number) for value in args["expressions"])
            return f"({self.value(args['this'], number)} IN ({values}))"
        if kind == "Between":
            number = self.is_number(args["low"])
            this, low, high = (self.value(args[name], number) for name in ("this", "low", "high"))
            return f"({this} BETWEEN {low} AND {high})"
        if kind in ("Like", "ILike"):
            return f"({self.value(args['this'], False)} {kind.upper()} {self.value(args['expression'], False)})"
        raise self.refused(node)

    def value(self, node: object, number: bool) -> str:
        kind = type(node).__name__
        args = getattr(node, "args", {})
        if kind == "Column" and not args.get("db"):
            name = f"{args['table'].name}.{args['this'].name}" if args.get("table") else args["this"].name
            column = self.column_sql(name)
            return f"TRY_CAST({column} AS DOUBLE)" if number else column
        if kind == "Literal":
            return args["this"] if not args["is_string"] else quote(args["this"])
        if kind == "Neg" and self.is_number(args["this"]):
            return f"-{args['this'].args['this']}"
        raise self.refused(node)

    def is_number(self, node: object) -> bool:
        args = getattr(node, "args", {})
        kind = type(node).__name__
        return (kind == "Literal" and not args["is_string"]) or (kind == "Neg" and self.is_number(args["this"]))

    def refused(self, node: object) -> SourceError:
        return SourceError("collect.where", where=self.where, part=node)
