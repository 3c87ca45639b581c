"""A node as a Python function of one row, for the live fold: a row is a list, a column its place in it.

Times are whole microseconds since 1970-01-01 UTC, days whole days since then.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from huaxiang.features.nodes import Node

Row = Sequence[Any]
Function = Callable[[Row], Any]
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)


def to_python(node: Node, at: Callable[[str], int]) -> Function:
    """The function that gives the value of `node` for a row; at: the place of a column in the row."""
    args = node.args
    if node.op == "column":
        return operator.itemgetter(at(args[0]))
    if node.op == "const":
        return _constant(args[1])
    if node.op == "moment":
        kind, value = args
        return _constant((value - _EPOCH) / _DAY if kind == "date" else (value - _EPOCH) // _MICROSECOND)
    if node.op in ("band", "weights"):
        return _SPECIAL[node.op](to_python(args[0], at), args[1])
    parts = [to_python(arg, at) for arg in args]
    return _JOINT[node.op](*parts) if node.op in _JOINT else _strict(_PLAIN[node.op], parts)


def _constant(value: Any) -> Function:
    return lambda row: value


def _strict(make: Callable[..., Any], parts: list[Function]) -> Function:
    """Unknown where a part is."""
    if len(parts) == 1:
        (one,) = parts

        def of_one(row: Row) -> Any:
            value = one(row)
            return None if value is None else make(value)

        return of_one
    left, right = parts

    def of_two(row: Row) -> Any:
        value, other = left(row), right(row)
        return None if value is None or other is None else make(value, other)

    return of_two


def _and(*parts: Function) -> Function:
    def made(row: Row) -> bool | None:
        unknown = False
        for part in parts:
            value = part(row)
            if value is None:
                unknown = True
            elif not value:
                return False
        return None if unknown else True

    return made


def _or(*parts: Function) -> Function:
    def made(row: Row) -> bool | None:
        unknown = False
        for part in parts:
            value = part(row)
            if value is None:
                unknown = True
            elif value:
                return True
        return None if unknown else False

    return made


def _in(value: Function, *options: Function) -> Function:
    found = frozenset(option(()) for option in options)

    def made(row: Row) -> bool | None:
        it = value(row)
        return None if it is None else it in found

    return made


def _coalesce(*parts: Function) -> Function:
    def made(row: Row) -> Any:
        for part in parts:
            value = part(row)
            if value is not None:
                return value
        return None

    return made


def _least(*parts: Function) -> Function:
    return lambda row: min((value for part in parts if (value := part(row)) is not None), default=None)


def _band(value: Function, edges: tuple[float, ...]) -> Function:
    def made(row: Row) -> int | None:
        it = value(row)
        return None if it is None else sum(it >= edge for edge in edges)

    return made


def _weights(value: Function, pairs: tuple[tuple[Any, float], ...]) -> Function:
    weight = dict(pairs)
    return lambda row: weight.get(value(row), 0.0)


def _peak(values: Function) -> Function:
    def made(row: Row) -> float | None:
        found = values(row)
        return None if found is None else float(found.index(max(found)))

    return made


def _tops(found: Function, whole: Function) -> Function:
    def made(row: Row) -> list[dict[str, Any]] | None:
        tops, total = found(row), whole(row)
        return [{"key": key, "share": score / total, "score": score} for score, key in tops] if tops else None

    return made


_SPECIAL: Mapping[str, Callable[[Function, Any], Function]] = {"band": _band, "weights": _weights}
_JOINT: Mapping[str, Callable[..., Function]] = {
    "and": _and,
    "or": _or,
    "is_null": lambda value: lambda row: value(row) is None,
    "in": _in,
    "coalesce": _coalesce,
    "either": _coalesce,
    "least": _least,
    "peak": _peak,
    "tops": _tops,
}
_PLAIN: Mapping[str, Callable[..., Any]] = {
    "not": operator.not_,
    "neg": operator.neg,
    "starts_with": str.startswith,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": lambda one, other: one / other if other else None,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "float": float,
}
