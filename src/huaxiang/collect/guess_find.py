"""What a guess about a source is made of: the tables it feeds, the doubts, and the search for the column of a role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from huaxiang.collect.guess_fit import fits_role
from huaxiang.collect.guess_names import roles_of
from huaxiang.collect.guess_values import empty_values
from huaxiang.collect.seen import Look
from huaxiang.collect.sniff_values import ColumnLook

Doubt = tuple[str, tuple[tuple[str, Any], ...]]  # key of words/init.toml, and its values

USER_COLUMNS = (
    "birth_year", "gender", "city", "region", "country", "occupation", "education", "marital_status", "household_size", "children",
    "income_band", "member_level", "signup_channel", "consent", "email", "phone", "birth_date", "id_number",
)  # fmt: skip
ITEM_COLUMNS = ("title", "category", "brand", "list_price", "image", "description", "content_vector")
MEASURES = ("quantity", "price", "amount", "discount", "rating", "list_price")


@dataclass
class TableGuess:
    """One table a source feeds: contract column -> what settings.ColumnFrom takes."""

    table: str
    map: dict[str, dict[str, Any]] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    where: str = ""
    distinct: bool = False


@dataclass
class SourceGuess:
    """What a file seems to be. No `tables`: nothing could be made of it, and `lacks` says which column was missed."""

    look: Look
    tables: list[TableGuess] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    third_party: bool = False
    lacks: str = ""
    name: str = ""

    def table(self, name: str) -> TableGuess | None:
        return next((table for table in self.tables if table.table == name), None)

    @property
    def unmapped(self) -> list[str]:
        """Columns nothing was made of."""
        used = used_columns(self)
        return [name for name in self.look.names if name not in used]


def used_columns(guess: SourceGuess) -> set[str]:
    """The source columns that some table takes."""
    origins = [origin for table in guess.tables for origin in table.map.values()]
    used = {name for origin in origins for name in (origin.get("column"), *origin.get("columns", ())) if name}
    return used | {name for table in guess.tables for name in table.extra}


class Guesser:
    """Finds the column for a role in one file."""

    def __init__(self, look: Look, roles: Mapping[str, str]) -> None:
        self.look = look
        self.roles = roles  # column -> role, known from elsewhere
        self.doubts: list[Doubt] = []

    def find(self, role: str, used: Sequence[str] = ()) -> ColumnLook | None:
        """The column that holds `role`: the surest name whose values agree, not among `used`."""
        found = [
            (
                0
                if self.roles.get(column.name) == role
                else roles_of(column.name)[role] + 1000 * (column.empty_share > 0.98),
                place,
                column,
            )
            for place, column in enumerate(self.look.columns)
            if column.name not in used
            and (
                self.roles.get(column.name) == role or (column.name not in self.roles and role in roles_of(column.name))
            )
            and fits_role(role, column)
        ]
        return min(found)[2] if found else None

    def doubt(self, key: str, **values: Any) -> None:
        self.doubts.append((key, tuple(values.items())))


def column_from(column: ColumnLook, role: str) -> dict[str, Any]:
    """What settings.ColumnFrom needs to read `column` as `role`."""
    origin: dict[str, Any] = {"column": column.name}
    if column.is_time and role in ("ts", "since", "registered_at", "received_at"):
        if column.format:
            origin["format"] = [column.format, *column.also] if column.also else column.format
        if column.unit:
            origin["unit"] = column.unit
    empty = empty_values(column, measure=role in (*MEASURES, "amount_line", "amount_order"))
    if empty:
        origin["empty"] = empty
    return origin


def quote_name(name: str) -> str:
    """A column's name as the filter language takes it."""
    return name if name.isascii() and name.isidentifier() else '"' + name.replace('"', '""') + '"'
