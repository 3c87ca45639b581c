"""A node as an Ibis expression: the portable form that DuckDB and Spark both run."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import ibis

from huaxiang.features.nodes import Node

Column = Callable[[str], Any]  # the Ibis value of a column by its name


def to_ibis(node: Node, of: Column) -> Any:
    """The Ibis value of `node`; of: gives the value of each column it names."""
    args = node.args
    if node.op == "column":
        return of(args[0])
    if node.op == "const":
        return ibis.literal(args[1])
    if node.op == "moment":
        return ibis.literal(args[1], type="timestamp")
    if node.op in _SPECIAL:
        return _SPECIAL[node.op](args, of)
    return _PLAIN[node.op](*(to_ibis(arg, of) for arg in args))


def _band(args: tuple[Any, ...], of: Column) -> Any:
    """band(value, edges): in how many of the ascending edges the value does not lie below."""
    value = to_ibis(args[0], of)
    cases = [(value < edge, number) for number, edge in enumerate(args[1])]
    return ibis.cases((value.isnull(), ibis.null("int64")), *cases, else_=len(args[1]))


def _weights(args: tuple[Any, ...], of: Column) -> Any:
    """weights(value, pairs): the number that belongs to a value; 0 where none does."""
    value = to_ibis(args[0], of)
    return ibis.cases(*((value == key, weight) for key, weight in args[1]), else_=0.0)


def _peak(args: tuple[Any, ...], of: Column) -> Any:
    """peak(list): the place of the first largest; unknown where the list is."""
    values = to_ibis(args[0], of)
    return values.index(values.maxs()).cast("float64")


def _tops(args: tuple[Any, ...], of: Column) -> Any:
    """tops(list of {score, key}, whole): as the finished list of {key, share, score}; unknown where it is empty."""
    found, whole = to_ibis(args[0], of), to_ibis(args[1], of)
    made = found.map(lambda top: ibis.struct({"key": top["key"], "share": top["score"] / whole, "score": top["score"]}))
    return ibis.ifelse(found.length() > 0, made, ibis.null(made.type()))


_SPECIAL: Mapping[str, Callable[[tuple[Any, ...], Column], Any]] = {
    "band": _band,
    "weights": _weights,
    "peak": _peak,
    "tops": _tops,
}
_PLAIN: Mapping[str, Callable[..., Any]] = {
    "and": lambda *args: reduce(operator.and_, args),
    "or": lambda *args: reduce(operator.or_, args),
    "not": operator.invert,
    "neg": operator.neg,
    "is_null": lambda value: value.isnull(),
    "in": lambda value, *options: value.isin(options),
    "starts_with": lambda value, start: value.startswith(start),
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": lambda one, other: one.cast("float64") / other.nullif(0),  # Spark divides whole numbers as short decimals
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "either": lambda *args: ibis.coalesce(*args),
    "coalesce": lambda *args: ibis.coalesce(*args),
    "least": lambda *args: ibis.least(*args),
    "float": lambda value: value.cast("int64").cast("float64") if value.type().is_boolean() else value.cast("float64"),
}
