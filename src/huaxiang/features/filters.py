"""A small, safe expression language over the columns of a table, checked and read into a tree.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from huaxiang.errors import DefinitionError
from huaxiang.features.nodes import Node, both, column, const, moment, some, sql
from huaxiang.tables import EVENT_NAMES

EVENT_CODES: dict[str, int] = {name: number for number, name in enumerate(EVENT_NAMES, start=1)}

_COMPARE = {ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}
_ARITHMETIC = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
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


Constant = str | int | float | bool


@dataclass(frozen=True)
class Expression:
    """A checked expression: its tree (None: a condition that always holds) and its type.

    event: the code of the one event a condition can hold for (None: not known to be one); rest: the condition without it
    """

    node: Node | None = None
    type: str = "bool"
    event: int | None = None
    rest: Node | None = None

    def __and__(self, other: Expression) -> Expression:
        node = both(self.node, other.node)
        if (self.event is None) == (other.event is None) and self.event != other.event:
            return Expression(node)  # two different events: never true, and no event's own
        event = other.event if self.event is None else self.event
        return Expression(node, "bool", event, None if event is None else both(self._beside, other._beside))

    def __or__(self, other: Expression) -> Expression:
        if self.node is None or other.node is None:
            return Expression()
        return self if self == other else Expression(some(self.node, other.node))

    @property
    def sql(self) -> str:
        """DuckDB text ("": always true)."""
        return "" if self.node is None else sql(self.node)

    @property
    def value(self) -> Node:
        """The tree of a value, which always has one."""
        assert self.node is not None
        return self.node

    @property
    def columns(self) -> frozenset[str]:
        return self.node.columns() if self.node is not None else frozenset()

    @property
    def _beside(self) -> Node | None:
        return self.node if self.event is None else self.rest


# A function of the language: from its arguments, all constants, to the tree and type of what it stands for.
Function = Callable[[tuple[Constant, ...], dict[str, Constant]], tuple[Node, str]]


def compile_filter(
    text: str, columns: Mapping[str, str], *, name: str, functions: Mapping[str, Function] | None = None
) -> Expression:
    """The condition `text` over `columns` (name -> type); raises DefinitionError naming the definition `name`.

    functions: those that may be called beside `startswith`
    """
    if not text.strip():
        return Expression()
    made = _Compiler(text, columns, name, functions or {}).compile()
    if made.type != "bool":
        raise DefinitionError("features.not_condition", name=name, text=text)
    return made


def compile_value(text: str, columns: Mapping[str, str], *, name: str) -> Expression:
    """The value `text` (a column or arithmetic over columns); raises DefinitionError naming the definition `name`."""
    if not text.strip():
        raise DefinitionError("features.no_column", name=name)
    return _Compiler(text, columns, name, {}).compile()


class _Compiler:
    def __init__(self, text: str, columns: Mapping[str, str], name: str, functions: Mapping[str, Function]) -> None:
        self.functions = functions
        self.text = text
        self.columns = columns
        self.name = name

    def compile(self) -> Expression:
        try:
            tree = ast.parse(_as_python(self.text), mode="eval")
        except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError) as error:
            raise DefinitionError("features.syntax", name=self.name, text=self.text) from error
        node, kind = self.node(tree.body)
        joint = isinstance(tree.body, ast.BoolOp) and isinstance(tree.body.op, ast.And)
        parts = tree.body.values if joint and isinstance(tree.body, ast.BoolOp) else [tree.body]
        events = [event for part in parts if (event := self.one_event(part)) is not None]
        if len(events) != 1:
            return Expression(node, kind)
        rest = both(*(self.truth(part) for part in parts if self.one_event(part) is None))
        return Expression(node, kind, events[0], rest)

    def one_event(self, node: ast.expr) -> int | None:
        """The code of the event that `node` asks for, where it is just that: event == 'purchase'."""
        match node:
            case ast.Compare(
                left=ast.Name(id="event"), ops=[ast.Eq()], comparators=[ast.Constant(value=str() as name)]
            ):
                return EVENT_CODES.get(name) if "event" in self.columns else None
        return None

    def node(self, node: ast.expr) -> tuple[Node, str]:
        """Tree and type of one node."""
        match node:
            case ast.BoolOp():
                joint = "and" if isinstance(node.op, ast.And) else "or"
                return Node(joint, tuple(self.truth(value) for value in node.values)), "bool"
            case ast.UnaryOp(op=ast.Not()):
                return Node("not", (self.truth(node.operand),)), "bool"
            case ast.UnaryOp(op=ast.USub()):
                return Node("neg", (self.number(node.operand),)), "float"
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                left, right = self.number(node.left), self.number(node.right)
                return Node(_ARITHMETIC[type(node.op)], (left, right)), "float"
            case ast.Compare():
                sides = [node.left, *node.comparators]
                pairs = zip(sides[:-1], node.ops, sides[1:], strict=True)
                joined = both(*(self.compare(left, op, right) for left, op, right in pairs))
                assert joined is not None
                return joined, "bool"
            case ast.Call(
                func=ast.Name(id="startswith"),
                args=[ast.expr() as column, ast.Constant(value=str() as start)],
                keywords=[],
            ):
                found, kind = self.node(column)
                if kind != "string":
                    raise DefinitionError(
                        "features.not_allowed", name=self.name, text=self.text, part=ast.unparse(node)
                    )
                return Node("starts_with", (found, const(start))), "bool"
            case ast.Call(func=ast.Name(id=called)) if self.functions:
                return self.call(called, node)
            case ast.Name():
                return self.column(node.id)
            case ast.Constant():
                return self.constant(node.value)
        raise DefinitionError("features.not_allowed", name=self.name, text=self.text, part=ast.unparse(node))

    def call(self, called: str, node: ast.Call) -> tuple[Node, str]:
        """What a function of the language stands for."""
        if called not in self.functions:
            near = difflib.get_close_matches(called, self.functions, n=1) or [", ".join(self.functions)]
            raise DefinitionError("features.unknown_function", name=self.name, function=called, near=near[0])

        def plain(value: ast.expr) -> Constant:
            negative = isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub)
            inner = value.operand if isinstance(value, ast.UnaryOp) and negative else value
            if not isinstance(inner, ast.Constant) or not isinstance(inner.value, str | int | float):
                part = ast.unparse(node)
                raise DefinitionError("features.not_allowed", name=self.name, text=self.text, part=part)
            return -inner.value if negative and not isinstance(inner.value, str) else inner.value

        named = {keyword.arg or "**": plain(keyword.value) for keyword in node.keywords}
        return self.functions[called](tuple(plain(value) for value in node.args), named)

    def truth(self, node: ast.expr) -> Node:
        found, kind = self.node(node)
        if kind != "bool":
            raise DefinitionError("features.not_condition", name=self.name, text=ast.unparse(node))
        return found

    def number(self, node: ast.expr) -> Node:
        found, kind = self.node(node)
        if kind not in _NUMBERS:
            raise DefinitionError("features.not_number", name=self.name, text=self.text, part=ast.unparse(node))
        return found

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Node:
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise DefinitionError(
                    "features.not_allowed", name=self.name, text=self.text, part=f"is {ast.unparse(right)}"
                )
            unknown = Node("is_null", (self.node(left)[0],))
            return Node("not", (unknown,)) if isinstance(op, ast.IsNot) else unknown
        if isinstance(op, ast.In | ast.NotIn):
            if isinstance(right, ast.Constant):  # in ('web'): brackets around one choice make no list in Python
                right = ast.Tuple([right])
            if not isinstance(right, ast.Tuple | ast.List | ast.Set) or not right.elts:
                raise DefinitionError("features.in_list", name=self.name, text=self.text)
            options = [self.pair(left, value) for value in right.elts]
            one_of = Node("in", (options[0][0], *(option for _, option in options)))
            return Node("not", (one_of,)) if isinstance(op, ast.NotIn) else one_of
        sign = _COMPARE[type(op)]
        if isinstance(left, ast.Constant) and not isinstance(right, ast.Constant):
            found, value = self.pair(right, left, ordered=sign not in ("eq", "ne"))
            return Node(sign, (value, found))
        return Node(sign, self.pair(left, right, ordered=sign not in ("eq", "ne")))

    def pair(self, left: ast.expr, right: ast.expr, *, ordered: bool = False) -> tuple[Node, Node]:
        """Both sides of a comparison, of types that compare."""
        if (
            isinstance(left, ast.Name)
            and left.id == "event"
            and "event" in self.columns
            and isinstance(right, ast.Constant)
        ):
            if ordered or right.value not in EVENT_CODES:
                near = difflib.get_close_matches(str(right.value), EVENT_CODES, n=1) or [", ".join(EVENT_CODES)]
                raise DefinitionError("features.unknown_event", name=self.name, value=right.value, near=near[0])
            return column("event_no"), const(EVENT_CODES[right.value])
        (found, kind), (value, other) = self.node(left), self.node(right)
        if kind in ("timestamp", "date") and isinstance(right, ast.Constant) and isinstance(right.value, str):
            try:
                return found, moment(datetime.fromisoformat(right.value).replace(tzinfo=None), kind)
            except ValueError as error:
                raise DefinitionError("features.not_time", name=self.name, value=right.value) from error
        if kind != other and not (kind in _NUMBERS and other in _NUMBERS):
            raise DefinitionError(
                "features.types", name=self.name, text=self.text, left=ast.unparse(left), kind=kind, other=other
            )
        return found, value

    def column(self, name: str) -> tuple[Node, str]:
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, n=1)
            if near:
                raise DefinitionError("features.unknown_column_near", name=self.name, column=name, near=near[0])
            raise DefinitionError("features.unknown_column", name=self.name, column=name, known=", ".join(self.columns))
        return column(name), self.columns[name]

    def constant(self, value: object) -> tuple[Node, str]:
        match value:
            case bool():
                return const(value), "bool"
            case int() if abs(value) < 2**63:  # what a column of whole numbers can hold
                return const(value), "int"
            case float() if math.isfinite(value):
                return const(value), "float"
            case str():
                return const(value), "string"
        raise DefinitionError("features.not_allowed", name=self.name, text=self.text, part=repr(value)[:80])


def named_by(text: str, called: str) -> tuple[str, ...]:
    """The first argument of each call of `called` in a condition, each once (none where it cannot be read: compiling it says so)."""
    try:
        tree = ast.parse(_as_python(text), mode="eval")
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError):
        return ()
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    given = [node.args[0] for node in calls if isinstance(node.func, ast.Name) and node.func.id == called]
    return tuple(
        dict.fromkeys(one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))
    )


def _as_python(text: str) -> str:
    """The text with SQL's spelling of a few words turned into Python's; strings are left alone."""
    tokens = tokenize.generate_tokens(io.StringIO(text.strip().replace("\n", " ")).readline)
    swapped = [
        (token.type, _WORDS.get(token.string, token.string) if token.type == tokenize.NAME else token.string)
        for token in tokens
    ]
    return tokenize.untokenize(swapped).strip()
