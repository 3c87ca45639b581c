"""One `[[collect.to]]` as SQL: from a source's text columns to the columns of the contract.

    texts   every mapped column as clean text (`values`, `empty`, joins applied), rows that fail `where` left out
    typed   the same as the contract's types; what does not fit is NULL, and named in `bad`

User ids are still the shop's own here, in canonical form; `door` turns them into pseudonyms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from huaxiang.collect.values import (
    answers_sql,
    event_sql,
    number_sql,
    numbers_sql,
    purposes_sql,
    text_sql,
    time_sql,
    whole_sql,
)
from huaxiang.collect.where import filter_sql
from huaxiang.engine import Engine
from huaxiang.engine.duck import finite_sql, quote
from huaxiang.errors import SourceError
from huaxiang.settings import SourceSettings, TableFrom
from huaxiang.tables import SQL, TABLES, Column, Table, Type
from huaxiang.trust import canonical_id, mask_sql
from huaxiang.trust.scrub import mask_value_sql

_IDS = ("_id",)
_MEASURED = ("timestamp", "float", "int", "floats")


@dataclass(frozen=True)
class TableMap:
    """The SQL of one table of a source. `staged` names the table of source texts; its columns are `columns`' values."""

    source: SourceSettings
    to: TableFrom
    columns: Mapping[str, str]  # source column -> its name in the staged table
    purpose: str

    @property
    def table(self) -> Table:
        return TABLES[self.to.table]

    @property
    def mapped(self) -> list[Column]:
        return [column for column in self.table.columns if column.name in self.to.map]

    def texts(self, rows: str) -> str:
        """SELECT of `_file`, `row_id` and each mapped column's text, from `rows` (a query with `_file` and `row_id`)."""
        texts = [f"CAST({self._text(column)} AS VARCHAR) AS {column.name}" for column in self.mapped]
        texts += [f"{self._extra()} AS extra"] if self.to.extra and "extra" not in self.to.map else []
        where = f" WHERE {self.filter}" if self.to.where else ""
        return f"SELECT _file, row_id, {', '.join(texts)} FROM ({rows}){where}"

    @property
    def filter(self) -> str:
        return filter_sql(self.to.where, lambda name: self.columns[name]) if self.to.where else "true"

    def typed(self, texts: str) -> str:
        """SELECT of `_file`, `row_id`, the columns of `present` (personal ones and ids as text) and `bad`, from `texts`.

        Two levels, so that DuckDB reads each text once: `v_price` is what the text says, `price` what the row gets.
        """
        values = ", ".join(f"{self._typed(column)} AS v_{column.name}" for column in self.mapped)
        columns = ", ".join(
            f"CAST({sql} AS {SQL[self._type(name)]}) AS {name}" for name, sql in self._present().items()
        )
        return f"SELECT _file, row_id, {columns}, {self._bad()} AS bad FROM (SELECT *, {values} FROM ({texts}))"

    @property
    def present(self) -> list[str]:
        """The contract columns that `typed` gives."""
        return list(self._present())

    def _type(self, name: str) -> Type:
        return next(column.type for column in self.table.columns if column.name == name)

    def _present(self) -> dict[str, str]:
        """Contract column -> SQL over the texts and their `v_` values."""
        found = {column.name: self._value(column) for column in self.mapped}
        if self.to.extra and "extra" not in found:
            found["extra"] = "extra"
        if self.table.name == "events":
            found["event_id"] = f"coalesce({found['event_id']}, row_id)" if "event_id" in found else "row_id"
            _fill_amounts(found)
        if self.table.name == "users" and "birth_date" in found and "birth_year" not in found:
            found["birth_year"] = self._birth_year()
        return found

    def _value(self, column: Column) -> str:
        value, scale = f"v_{column.name}", self.to.map[column.name].scale
        if column.type != "float":
            return value
        return value if scale is None else finite_sql(f"({value} * {scale!r}::DOUBLE)")

    def samples(self, texts: str, column: str) -> str:
        """SELECT of up to three (masked) texts of `column` that could not be read."""
        typed = self._typed(next(mapped for mapped in self.mapped if mapped.name == column))
        return (
            f"SELECT DISTINCT left({mask_value_sql(column)}, 40) AS text FROM "
            f"(SELECT {column} FROM ({texts}) WHERE {column} IS NOT NULL AND ({typed}) IS NULL LIMIT 200) ORDER BY 1 LIMIT 3"
        )

    def _text(self, column: Column) -> str:
        origin = self.to.map[column.name]
        if origin.value is not None:
            return quote(str(origin.value))
        if origin.column is not None:
            return text_sql(self.columns[origin.column], origin)
        parts = [text_sql(self.columns[name], origin) for name in origin.columns]
        if origin.purposes:
            return answers_sql(parts, origin.purposes, self.purpose if self.source.consent_default else "")
        return f"nullif(concat_ws({quote(origin.join)}, {', '.join(parts)}), '')"

    def _typed(self, column: Column) -> str:
        origin, name = self.to.map[column.name], column.name
        if column.type == "timestamp":
            return time_sql(name, origin, origin.timezone or self.source.timezone)
        if column.type == "float":
            return number_sql(name)
        if column.type == "int":
            return whole_sql(name)
        if column.type == "strings":
            return purposes_sql(name, self.purpose)
        if column.type == "floats":
            return numbers_sql(name)
        if name == "event":
            return event_sql(name)
        if name.endswith(_IDS) or (column.pseudonym and self.table.name != "identifiers"):
            return canonical_id(name)
        if self.table.name == "identifiers" and name == "value":
            return identifier_sql("kind" if "kind" in self.to.map else "''", name)
        if name == "text" or (self.table.name == "users" and not column.personal):
            return mask_sql(name)
        return name

    def _extra(self) -> str:
        pairs = []
        for name in self.to.extra:
            text = self.columns[name]
            pairs.append(f"{quote(name)}, {mask_sql(text) if self.table.name == 'users' else text}")
        return f"nullif(json_merge_patch('{{}}', json_object({', '.join(pairs)}))::VARCHAR, '{{}}')"

    def _bad(self) -> str:
        measured = [column for column in self.mapped if column.type in _MEASURED]
        if not measured:
            return "CAST(NULL AS VARCHAR)"
        misfit = {
            column.name: f"({column.name} IS NOT NULL AND ({self._value(column)}) IS NULL)" for column in measured
        }
        pairs = ", ".join(
            f"{quote(name)}, CASE WHEN {test} THEN {mask_value_sql(name)} END" for name, test in misfit.items()
        )
        return (
            f"CASE WHEN {' OR '.join(misfit.values())} THEN json_merge_patch('{{}}', json_object({pairs}))::VARCHAR END"
        )

    def _birth_year(self) -> str:
        origin = self.to.map["birth_date"]
        date = f"year({time_sql('birth_date', origin, 'UTC')})"
        return f"coalesce({date}, TRY_CAST(regexp_extract(birth_date, '(^|[^0-9])((18|19|20)[0-9]{{2}})([^0-9]|$)', 2) AS BIGINT))"


def _fill_amounts(found: dict[str, str]) -> None:
    """amount = quantity × price, price = amount ÷ quantity, where one of them is absent."""
    quantity, price, amount = (found.get(name) for name in ("quantity", "price", "amount"))
    if quantity and price:
        product = f"({quantity}) * ({price})"
        found["amount"] = f"coalesce({amount}, {product})" if amount else product
    if quantity and amount:
        quotient = f"abs(({amount}) / nullif({quantity}, 0))"  # a return may carry its sign on either
        found["price"] = f"coalesce({price}, {quotient})" if price else quotient


def identifier_sql(kind: str, value: str) -> str:
    """An identifier as it is compared: e-mail in lower case, a phone number its digits without +86."""
    digits = f"regexp_replace(regexp_replace({value}, '[^0-9+]', '', 'g'), '^(\\+86|0086)', '')"
    return (
        f"CASE WHEN lower({kind}) IN ('email', 'e-mail', '邮箱') THEN lower({value}) "
        f"WHEN lower({kind}) IN ('phone', 'mobile', '手机', '电话') THEN {digits} ELSE {canonical_id(value)} END"
    )


def check_map(source: SourceSettings, engine: Engine) -> None:
    """Raises SourceError for a required column without an origin, an unknown zone, or a time format that is none."""
    for to in source.to:
        for column in TABLES[to.table].columns:
            if column.required and column.name not in to.map:
                raise SourceError("collect.unmapped", source=source.name, table=to.table, column=column.name)
        for origin in to.map.values():
            zone = origin.timezone or source.timezone
            if not _is_zone(zone):
                raise SourceError("collect.unknown_zone", source=source.name, zone=zone)
            for form in origin.formats:
                if engine.attempt(f"SELECT try_strptime('', {quote(form)})") is not None:
                    raise SourceError("collect.bad_format", source=source.name, format=form)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def used_columns(source: SourceSettings) -> list[str]:
    """The source columns that the mapping reads, each once."""
    names: list[str] = []

    def note(name: str) -> str:
        names.append(name)
        return "''"

    for to in source.to:
        for origin in to.map.values():
            names += [origin.column] if origin.column is not None else list(origin.columns)
        names += to.extra
        if to.where:
            filter_sql(to.where, note)
    return list(dict.fromkeys(names))
