"""Names for the columns of a file without a header, from their values alone."""

from __future__ import annotations

from dataclasses import replace

from huaxiang.collect.guess_values import GENDERS, event_share
from huaxiang.collect.seen import Look
from huaxiang.collect.sniff_values import ColumnLook


def name_headerless(look: Look) -> Look:
    """`look` with its columns named after what they seem to hold; columns that say nothing stay `column3`."""
    names = _name_by_values(look.columns)
    columns = tuple(replace(column, name=names.get(column.name, column.name)) for column in look.columns)
    return replace(
        look,
        columns=columns,
        doubts=(*look.doubts, ("headerless", (("names", ", ".join(column.name for column in columns)),))),
    )


def _name_by_values(columns: tuple[ColumnLook, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    for kind, name in (("email", "email"), ("phone", "phone"), ("id_number", "id_number")):
        found = next((column for column in columns if column.kind == kind), None)
        if found:
            names[found.name] = name
    time = next((column for column in columns if column.is_time), None)
    event = max(columns, key=event_share)
    has_event = event_share(event) >= 0.8
    if has_event:
        names[event.name] = "event"
    if time is not None:
        names[time.name] = "ts"
    left = [column for column in columns if column.name not in names and column.kind != "empty"]
    money = next(
        (
            column
            for column in left
            if column.kind in ("money", "comma") or (column.kind == "float" and _has_cents(column))
        ),
        None,
    )
    ids = [column for column in left if column.kind in ("int", "code", "category", "float") and column is not money]
    if time is None:
        return _name_users(left, names)
    if not ids:
        return names
    user, rest = ids[0], ids[1:]
    names[user.name] = "user_id"
    if money is not None:
        names[money.name] = "amount"
        small = next(
            (
                column
                for column in rest
                if column.kind == "int" and (column.high or 0) <= 1000 and column.distinct <= 60
            ),
            None,
        )
        if small:
            names[small.name] = "quantity"
        return names
    if not has_event:
        stars = next(
            (
                column
                for column in rest
                if column.is_number and column.distinct <= 10 and (column.low or 0) >= 0 and (column.high or 0) <= 10
            ),
            None,
        )
        if stars:
            names[stars.name] = "rating"
            rest = [column for column in rest if column is not stars]
    if rest:
        item = max(rest, key=lambda column: column.distinct)
        names[item.name] = "item_id"
        category = next((column for column in rest if column is not item and _decides(item, column)), None)
        if category:
            names[category.name] = "category"
    return names


def _name_users(left: list[ColumnLook], names: dict[str, str]) -> dict[str, str]:
    key = next(
        (column for column in left if column.kind in ("int", "code") and column.distinct >= 0.95 * column.filled), None
    )
    if key:
        names[key.name] = "user_id"
    for column in left:
        if column.kind == "category" and column.words and all(word.lower() in GENDERS for word in column.words):
            names[column.name] = "gender"
    return names


def _has_cents(column: ColumnLook) -> bool:
    return any("." in value and not value.endswith(".0") for value in column.words)


def _decides(item: ColumnLook, category: ColumnLook) -> bool:
    """Whether each item stands beside one category only."""
    pairs = {(one, other) for one, other in zip(item.values, category.values, strict=True) if one and other}
    return category.distinct < item.distinct and len(pairs) <= 1.02 * item.distinct
