"""The tree behind every filter, value and finished feature: small, typed by its writer, and read by each engine in its own way.

    sql(node)                    DuckDB text (labels, tags, evidence)
    in_ibis.to_ibis(node, …)     an Ibis expression, for DuckDB and Spark
    in_python.to_python(node, …) a function of one row, for the live fold

An unknown value (NULL, None) means the same in all three: a comparison with it is unknown, `and` and `or` follow Kleene, a
division by zero is unknown, `coalesce` and `least` pass it over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

COMPARE = {"eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
ARITHMETIC = {"add": "+", "sub": "-", "mul": "*", "div": "/"}


@dataclass(frozen=True, slots=True)
class Node:
    """One operation. args: nodes; of `column` its name, of `const` the type and the value, of `in` the values' nodes."""

    op: str
    args: tuple[Any, ...] = ()

    def __add__(self, other: Node) -> Node:
        return Node("add", (self, other))

    def __sub__(self, other: Node) -> Node:
        return Node("sub", (self, other))

    def __mul__(self, other: Node) -> Node:
        return Node("mul", (self, other))

    def __truediv__(self, other: Node) -> Node:
        return Node("div", (self, other))

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for arg in self.args:
            if isinstance(arg, Node):
                yield from arg.walk()

    def columns(self) -> frozenset[str]:
        """The names of the columns it reads."""
        return frozenset(node.args[0] for node in self.walk() if node.op == "column")


AS_OF = Node("column", ("as_of_no",))
DAY = Node("column", ("day_no",))


def column(name: str) -> Node:
    return Node("column", (name,))


def const(value: Any, kind: str = "") -> Node:
    """A value; kind: its type (told apart because True equals 1)."""
    return Node("const", (kind or type(value).__name__, value))


def moment(value: datetime, kind: str) -> Node:
    """A moment to compare a column of type `kind` (timestamp or date) with."""
    return Node("moment", (kind, value))


def both(*nodes: Node | None) -> Node | None:
    """All of them (None: always true)."""
    found = tuple(dict.fromkeys(node for node in nodes if node is not None))
    return None if not found else found[0] if len(found) == 1 else Node("and", found)


def some(*nodes: Node) -> Node:
    """One of them."""
    found = tuple(dict.fromkeys(nodes))
    return found[0] if len(found) == 1 else Node("or", found)


def known(node: Node) -> Node:
    """Whether `node` has a value."""
    return Node("not", (Node("is_null", (node,)),))


def coalesce(node: Node, other: float) -> Node:
    return Node("coalesce", (node, const(other)))


def number(node: Node) -> Node:
    """A count or a truth as a float."""
    return Node("float", (node,))


def sql(node: Node) -> str:
    """DuckDB text of a condition or value over columns."""
    args = node.args
    match node.op:
        case "column":
            return str(args[0])
        case "const":
            return _constant(args[1])
        case "moment":
            return f"TIMESTAMP '{args[1].isoformat(sep=' ')}'"
        case "and" | "or":
            return "(" + f" {node.op.upper()} ".join(map(sql, args)) + ")"
        case "not" if args[0].op == "is_null":
            return f"({sql(args[0].args[0])} IS NOT NULL)"
        case "not":
            return f"(NOT {sql(args[0])})"
        case "is_null":
            return f"({sql(args[0])} IS NULL)"
        case "neg":
            return f"(-{sql(args[0])})"
        case "in":
            return f"({sql(args[0])} IN ({', '.join(map(sql, args[1:]))}))"
        case "starts_with":
            return f"starts_with({sql(args[0])}, {sql(args[1])})"
        case "div":
            return f"({sql(args[0])} / nullif({sql(args[1])}, 0))"
        case op if op in COMPARE:
            return f"({sql(args[0])} {COMPARE[op]} {sql(args[1])})"
        case op if op in ARITHMETIC:
            return f"({sql(args[0])} {ARITHMETIC[op]} {sql(args[1])})"
    raise AssertionError(f"{node.op} stands in no filter")


def _constant(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def settle(node: Node, given: Mapping[str, Any]) -> Node:
    """`node` where the columns in `given` have those values, as far as that decides it."""
    if node.op == "column":
        return const(given[node.args[0]]) if node.args[0] in given else node
    args = tuple(settle(arg, given) if isinstance(arg, Node) else arg for arg in node.args)
    if node.op in ("and", "or"):
        return _settle_joint(node.op, args)
    made = Node(node.op, args)
    if args and all(isinstance(arg, Node) and arg.op == "const" for arg in args) and node.op in _DECIDE:
        return const(_DECIDE[node.op](*(arg.args[1] for arg in args)))
    return made


def _settle_joint(op: str, args: tuple[Node, ...]) -> Node:
    ends = op == "or"  # what decides the whole: one true of `or`, one false of `and`
    rest = [arg for arg in args if arg != const(not ends)]
    if const(ends) in rest:
        return const(ends)
    if not rest:
        return const(not ends)
    return rest[0] if len(rest) == 1 else Node(op, tuple(rest))


_DECIDE: dict[str, Callable[..., bool]] = {
    "eq": lambda one, other: one == other,
    "ne": lambda one, other: one != other,
    "in": lambda one, *others: one in others,
    "not": lambda one: not one,
    "is_null": lambda one: one is None,
}
