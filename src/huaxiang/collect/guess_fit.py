"""Whether a column's values agree with what its name promises."""

from __future__ import annotations

from collections.abc import Callable

from huaxiang.collect.guess_names import is_consent_name
from huaxiang.collect.sniff_values import ColumnLook
from huaxiang.collect.values import NO, YES

_TIMES = ("ts", "since", "registered_at", "received_at")
_NUMBERS = ("quantity", "price", "amount_line", "amount_order", "discount", "rating", "list_price")


def fits_role(role: str, column: ColumnLook) -> bool:
    """Whether the sampled values of `column` can be `role`."""
    if column.kind == "empty":
        return False
    if role in _TIMES:
        return column.is_time
    if role in _NUMBERS:
        return column.is_number and not (role == "rating" and (column.high or 0) > 100)
    if role == "birth_year":
        return (
            column.kind == "int"
            and _share(column, lambda value: value.isdecimal() and 1900 <= int(value) <= 2030) >= 0.9
        )
    if role == "birth_date":
        return column.is_time or column.kind in ("code", "text")
    if role == "content_vector":
        return column.kind == "list"
    if role == "consent" and is_consent_name(column.name):  # a name that only sounds so: its values must say yes or no
        return is_answer(column)
    if role == "age":
        return column.kind in ("category", "code", "text") or (column.is_number and 0 <= (column.high or 0) <= 150)
    if role in ("gender", "marital_status", "education", "kind", "status"):
        return column.distinct <= 40 and not column.is_time
    if role == "anonymous_id":
        return not column.is_time or column.kind == "epoch"
    if role in ("user_id", "item_id", "other_id", "order_id", "id"):
        return column.kind in ("int", "code", "category", "text", "email", "phone", "epoch") or _whole(column)
    if role == "email":
        return column.kind in ("email", "code", "text")
    if role in ("title", "name", "surname", "text"):
        return not column.is_number and not column.is_time and column.kind != "bool"
    if role == "coupon_id":
        return column.kind not in ("float", "money", "comma")
    if role in ("category", "brand", "channel", "device", "campaign_id", "session_id", "event_id"):
        return not (column.is_time and column.kind != "epoch") and column.kind not in ("list", "money", "comma")
    return not column.is_time or role in ("value", "address_part")


def is_answer(column: ColumnLook) -> bool:
    """Whether the values of a column say yes or no."""
    return {word.lower() for word in column.words} <= {*YES, *NO}


def _share(column: ColumnLook, fits: Callable[[str], bool]) -> float:
    """The share of the filled cells for which `fits` holds: a few wrong ones are for cleaning to judge."""
    cells = [value.removesuffix(".0") for value in column.values if value]
    return sum(map(fits, cells)) / max(len(cells), 1)


def _whole(column: ColumnLook) -> bool:
    """Whether a float column holds ids that passed through a spreadsheet: 17850.0. Some may be codes with letters."""
    return column.kind == "float" and all("." not in value or value.endswith(".0") for value in column.words)
