"""[[collect]]: one entry a source; [[collect.to]]: which of the five tables it feeds, and how."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from huaxiang.settings.base import Section
from huaxiang.tables import TABLES


class ColumnFrom(Section):
    """Where one contract column comes from: a source column, a constant, or several columns joined."""

    column: str | None = Field(default=None, description="name of the source column")
    value: str | int | float | None = Field(default=None, description="a constant instead of a column")
    columns: tuple[str, ...] = Field(default=(), description="several columns, joined by `join`")
    join: str = Field(default=" > ", description="what stands between the columns")
    values: dict[str, str] = Field(default_factory=dict, description="source value -> our value; others pass unchanged")
    format: str | tuple[str, ...] | None = Field(
        default=None, description="strptime format of a time, or several, tried in this order"
    )
    unit: Literal["s", "ms", "us", "ns", "days"] | None = Field(
        default=None, description="unit of a numeric time (epoch)"
    )
    timezone: str | None = Field(default=None, description="zone of times written without one; default: the source's")
    empty: tuple[str, ...] = Field(default=(), description="values that mean 'not known' here, such as -1 or 未知")
    purposes: tuple[str, ...] = Field(
        default=(), description="consent from yes/no columns: what a yes in each of `columns` agrees to, such as email"
    )
    scale: float | None = Field(
        default=None, description="multiply a number by this (0.01: cents to yuan; -1: change the sign)"
    )

    @property
    def formats(self) -> tuple[str, ...]:
        return () if not self.format else (self.format,) if isinstance(self.format, str) else self.format

    @model_validator(mode="after")
    def _one_origin(self) -> ColumnFrom:
        if sum((self.column is not None, self.value is not None, bool(self.columns))) != 1:
            raise ValueError("write exactly one of column, value or columns")
        if self.purposes and len(self.purposes) != len(self.columns):
            raise ValueError("write one of purposes for each of columns")
        return self


class TableFrom(Section):
    """One table fed by a source. `map`: contract column -> ColumnFrom (a bare string is a source column)."""

    table: str = Field(description="users, items, events, relations or identifiers")
    map: dict[str, ColumnFrom]
    extra: tuple[str, ...] = Field(default=(), description="source columns kept as further attributes (users, items)")
    where: str = Field(default="", description="only rows where this holds, such as `status != 'test'`")
    distinct: bool = Field(
        default=False,
        description="keep one of rows that are alike in every mapped column (items listed in an event log)",
    )

    @field_validator("map", mode="before")
    @classmethod
    def _bare_names(cls, given: Any) -> Any:
        if isinstance(given, dict):
            return {name: {"column": origin} if isinstance(origin, str) else origin for name, origin in given.items()}
        return given

    @model_validator(mode="after")
    def _known_columns(self) -> TableFrom:
        if self.table not in TABLES:
            raise ValueError(f"no table {self.table!r}; the tables are {', '.join(TABLES)}")
        known = [column.name for column in TABLES[self.table].columns]
        for name in self.map:
            if name not in known:
                raise ValueError(f"{self.table} has no column {name!r}; it has {', '.join(known)}")
            if self.map[name].purposes and name != "consent":
                raise ValueError(f"purposes are those of consent; {name!r} has none")
        return self


class SourceSettings(Section):
    """One source: files (`from`) or a database (`from` = a URL, with `query` or `db_table`)."""

    name: str = Field(description="of the source; rows carry it")
    from_: tuple[str, ...] = Field(
        alias="from", description="paths or globs, relative to the shop folder; or one database URL"
    )
    format: Literal["csv", "jsonl", "parquet", "database"] = Field(default="csv", description="what the files are")
    encoding: str = Field(default="utf-8", description="such as gb18030 or utf-16")
    delimiter: str = Field(default=",", description="what separates the columns of a CSV")
    quote: str = Field(default='"', description="what stands around a value that holds the delimiter")
    header: bool = Field(default=True, description="whether the first row names the columns")
    columns: tuple[str, ...] = Field(default=(), description="names of the columns of a headerless file")
    skip: int = Field(default=0, ge=0, description="lines before the header or the first row")
    timezone: str = Field(default="UTC", description="zone of times written without one")
    query: str = Field(default="", description="a SELECT to read from a database")
    db_table: str = Field(default="", description="a table to read whole from a database")
    third_party: bool = Field(
        default=False, description="attributes bought or found elsewhere: joined by user_id, source kept"
    )
    consent_default: bool = Field(default=True, description="whether users with no consent column agreed to profiling")
    to: tuple[TableFrom, ...]

    @field_validator("from_", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given


class DoorSettings(Section):
    """[door]: what is decided before anything is stored."""

    purpose: str = Field(
        default="profiling", description="records of users who did not agree to this purpose are not stored"
    )
    test_users: tuple[str, ...] = Field(
        default=("test*", "*_test", "qa_*", "demo_*", "测试*"), description="globs on user id, name and e-mail"
    )
