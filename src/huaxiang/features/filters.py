"""A small, safe expression language over the columns of a table, compiled to SQL.

    event == 'purchase' and price > 100        channel in ('web', 'app')        not (brand is null)
    startswith(category, 'GROCERY > COFFEE')

Names are columns; values are numbers, strings, true, false and null; `and or not`, comparisons, `in`, `is null`, + − × ÷.
As in SQL, a comparison with an unknown value is not true, and neither is its opposite. Nothing is ever evaluated as Python.
"""

from __future__ import annotations

import ast
import difflib
import io
import math
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from huaxiang.errors import DefinitionError
from huaxiang.tables import EVENT_NAMES

EVENT_CODES: dict[str, int] = {name: number for number, name in enumerate(EVENT_NAMES, start=1)}

_COMPARE = {ast.Eq: "=", ast.NotEq: "<>", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_WORDS = {
    "null": "None",
    "NULL": "None",
    "AND": "and",
    "OR": "or",
    "NOT": "not",
    "IN": "in",
    "IS": "is",
    "true": "True",
    "false": "False",
}
_NUMBERS = ("int", "float")


@dataclass(frozen=True)
class Expression:
    """A compiled expression: its SQL (empty: always true), its type, and the columns it reads.

    event: the code of the one event a condition can hold for (None: not known to be one); rest: the condition without it
    """

    sql: str = ""
    type: str = "bool"
    columns: frozenset[str] = field(default_factory=frozenset)
    event: int | None = None
    rest: str = ""

    def __and__(self, other: Expression) -> Expression:
        columns = self.columns | other.columns
        sql = _joined(self.sql, other.sql)
        if (self.event is None) == (other.event is None) and self.event != other.event:
            return Expression(sql, "bool", columns)  # two different events: never true, and no event's own
        event = other.event if self.event is None else self.event
        return Expression(sql, "bool", columns, event, "" if event is None else _joined(self._beside, other._beside))

    def __or__(self, other: Expression) -> Expression:
        if not self.sql or not other.sql:
            return Expression()
        return (
            self
            if self.sql == other.sql
            else Expression(f"({self.sql} OR {other.sql})", "bool", self.columns | other.columns)
        )

    @property
    def _beside(self) -> str:
        return self.sql if self.event is None else self.rest


def _joined(*conditions: str) -> str:
    return " AND ".join(dict.fromkeys(condition for condition in conditions if condition))


def compile_filter(text: str, columns: Mapping[str, str], *, name: str) -> Expression:
    """The condition `text` over `columns` (name -> type); raises DefinitionError naming the definition `name`."""
    if not text.strip():
        return Expression()
    made = _Compiler(text, columns, name).compile()
    if made.type != "bool":
        raise DefinitionError("features.not_condition", name=name, text=text)
    return Expression(f"({made.sql})", "bool", made.columns, made.event, made.rest)


def compile_value(text: str, columns: Mapping[str, str], *, name: str) -> Expression:
    """The value `text` (a column or arithmetic over columns); raises DefinitionError naming the definition `name`."""
    if not text.strip():
        raise DefinitionError("features.no_column", name=name)
    return _Compiler(text, columns, name).compile()


class _Compiler:
    def __init__(self, text: str, columns: Mapping[str, str], name: str) -> None:
        self.text = text
        self.columns = columns
        self.name = name
        self.used: set[str] = set()

    def compile(self) -> Expression:
        try:
            tree = ast.parse(_as_python(self.text), mode="eval")
        except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError) as error:
            raise DefinitionError("features.syntax", name=self.name, text=self.text) from error
        sql, kind = self.node(tree.body)
        both = isinstance(tree.body, ast.BoolOp) and isinstance(tree.body.op, ast.And)
        parts = tree.body.values if both and isinstance(tree.body, ast.BoolOp) else [tree.body]
        events = [event for part in parts if (event := self.one_event(part)) is not None]
        if len(events) != 1:
            return Expression(sql, kind, frozenset(self.used))
        rest = _joined(*(self.truth(part) for part in parts if self.one_event(part) is None))
        return Expression(sql, kind, frozenset(self.used), events[0], rest)

    def one_event(self, node: ast.expr) -> int | None:
        """The code of the event that `node` asks for, where it is just that: event == 'purchase'."""
        match node:
            case ast.Compare(
                left=ast.Name(id="event"), ops=[ast.Eq()], comparators=[ast.Constant(value=str() as name)]
            ):
                return EVENT_CODES.get(name) if "event" in self.columns else None
        return None

    def node(self, node: ast.expr) -> tuple[str, str]:
        """SQL and type of one node."""
        match node:
            case ast.BoolOp():
                joint = " AND " if isinstance(node.op, ast.And) else " OR "
                return "(" + joint.join(self.truth(value) for value in node.values) + ")", "bool"
            case ast.UnaryOp(op=ast.Not()):
                return f"(NOT {self.truth(node.operand)})", "bool"
            case ast.UnaryOp(op=ast.USub()):
                return f"(-{self.number(node.operand)})", "float"
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                left, right = self.number(node.left), self.number(node.right)
                if isinstance(node.op, ast.Div):
                    return f"({left} / nullif({right}, 0))", "float"
                return f"({left} {_ARITHMETIC[type(node.op)]} {right})", "float"
            case ast.Compare():
                sides = [node.left, *node.comparators]
                pairs = zip(sides[:-1], node.ops, sides[1:], strict=True)
                return "(" + " AND ".join(self.compare(left, op, right) for left, op, right in pairs) + ")", "bool"
            case ast.Call(
                func=ast.Name(id="startswith"),
                args=[ast.expr() as column, ast.Constant(value=str() as start)],
                keywords=[],
            ):
                sql, kind = self.node(column)
                if kind != "string":
                    raise DefinitionError(
                        "features.not_allowed", name=self.name, text=self.text, part=ast.unparse(node)
                    )
                return f"starts_with({sql}, {self.constant(start)[0]})", "bool"
            case ast.Name():
                return self.column(node.id)
            case ast.Constant():
                return self.constant(node.value)
        raise DefinitionError("features.not_allowed", name=self.name, text=self.text, part=ast.unparse(node))

    def truth(self, node: ast.expr) -> str:
        sql, kind = self.node(node)
        if kind != "bool":
            raise DefinitionError("features.not_condition", name=self.name, text=ast.unparse(node))
        return sql

    def number(self, node: ast.expr) -> str:
        sql, kind = self.node(node)
        if kind not in _NUMBERS:
            raise DefinitionError("features.not_number", name=self.name, text=self.text, part=ast.unparse(node))
        return sql

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> str:
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise DefinitionError(
                    "features.not_allowed", name=self.name, text=self.text, part=f"is {ast.unparse(right)}"
                )
            return f"{self.node(left)[0]} IS {'NOT ' if isinstance(op, ast.IsNot) else ''}NULL"
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
                raise DefinitionError("features.in_list", name=self.name, text=self.text)
            options = [self.pair(left, value) for value in right.elts]
            listed = ", ".join(option for _, option in options)
            return f"{options[0][0]} {'NOT IN' if isinstance(op, ast.NotIn) else 'IN'} ({listed})"
        sign = _COMPARE[type(op)]
        if isinstance(left, ast.Constant) and not isinstance(right, ast.Constant):
            found, value = self.pair(right, left)
            return f"{value} {sign} {found}"
        found, value = self.pair(left, right, ordered=sign not in ("=", "<>"))
        return f"{found} {sign} {value}"

    def pair(self, left: ast.expr, right: ast.expr, *, ordered: bool = False) -> tuple[str, str]:
        """Both sides of a comparison as SQL of types that compare."""
        if (
            isinstance(left, ast.Name)
            and left.id == "event"
            and "event" in self.columns
            and isinstance(right, ast.Constant)
        ):
            self.used.add("event")
            if ordered or right.value not in EVENT_CODES:
                near = difflib.get_close_matches(str(right.value), EVENT_CODES, n=1) or [", ".join(EVENT_CODES)]
                raise DefinitionError("features.unknown_event", name=self.name, value=right.value, near=near[0])
            return "event_no", str(EVENT_CODES[right.value])
        (found, kind), (value, other) = self.node(left), self.node(right)
        if kind in ("timestamp", "date") and isinstance(right, ast.Constant) and isinstance(right.value, str):
            try:
                return (
                    found,
                    f"TIMESTAMP '{datetime.fromisoformat(right.value).replace(tzinfo=None).isoformat(sep=' ')}'",
                )
            except ValueError as error:
                raise DefinitionError("features.not_time", name=self.name, value=right.value) from error
        if kind != other and not (kind in _NUMBERS and other in _NUMBERS):
            raise DefinitionError(
                "features.types", name=self.name, text=self.text, left=ast.unparse(left), kind=kind, other=other
            )
        return found, value

    def column(self, column: str) -> tuple[str, str]:
        if column not in self.columns:
            near = difflib.get_close_matches(column, self.columns, n=1)
            if near:
                raise DefinitionError("features.unknown_column_near", name=self.name, column=column, near=near[0])
            raise DefinitionError(
                "features.unknown_column", name=self.name, column=column, known=", ".join(self.columns)
            )
        self.used.add(column)
        return column, self.columns[column]

    def constant(self, value: object) -> tuple[str, str]:
        match value:
            case bool():
                return ("TRUE" if value else "FALSE"), "bool"
            case int():
                return str(value), "int"
            case float() if math.isfinite(value):
                return repr(value), "float"
            case str():
                return "'" + value.replace("'", "''") + "'", "string"
        raise DefinitionError("features.not_allowed", name=self.name, text=self.text, part=repr(value))


def _as_python(text: str) -> str:
    """The text with SQL's spelling of a few words turned into Python's; strings are left alone."""
    tokens = tokenize.generate_tokens(io.StringIO(text.strip().replace("\n", " ")).readline)
    swapped = [
        (token.type, _WORDS.get(token.string, token.string) if token.type == tokenize.NAME else token.string)
        for token in tokens
    ]
    return tokenize.untokenize(swapped).strip()
