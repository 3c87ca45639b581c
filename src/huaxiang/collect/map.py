"""One `[[collect.to]]` as SQL: from a source's text columns to the columns of the contract.

    texts   every mapped column as clean text (`values`, `empty`, joins applied), rows that fail `where` left out
    typed   the same as the contract's types; what does not fit is NULL, and named in `bad`

User ids are still the shop's own here, in canonical form; `door` turns them into pseudonyms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from huaxiang.collect.values import event_sql, number_sql, purposes_sql, text_sql, time_sql, whole_sql
from huaxiang.collect.where import filter_sql
from huaxiang.engine.duck import quote
from huaxiang.settings import SourceSettings, TableFrom
from huaxiang.tables import TABLES, Column, Table
from huaxiang.trust import canonical_id, mask_sql
from huaxiang.trust.scrub import mask_value_sql

_IDS = ("_id",)
_MEASURED = ("timestamp", "float", "int")


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
        texts = [f"{self._text(column)} AS {column.name}" for column in self.mapped]
        texts += [f"{self._extra()} AS extra"] if self.to.extra and "extra" not in self.to.map else []
        where = f" WHERE {self.filter}" if self.to.where else ""
        return f"SELECT _file, row_id, {', '.join(texts)} FROM ({rows}){where}"

    @property
    def filter(self) -> str:
        return filter_sql(self.to.where, lambda name: self.columns[name]) if self.to.where else "true"

    def typed(self, texts: str) -> str:
        """SELECT of `_file`, `row_id`, every contract column (personal ones and ids as text) and `bad`, from `texts`."""
        typed = {column.name: self._typed(column) for column in self.mapped}
        bad = self._bad(typed)
        present = {column.name: typed.get(column.name) for column in self.table.columns}
        if self.to.extra and "extra" not in self.to.map:
            present["extra"] = "extra"
        if self.table.name == "events":
            self._fill_amounts(present)
            present["event_id"] = present["event_id"] or "row_id"
        if self.table.name == "users" and "birth_date" in typed and "birth_year" not in typed:
            present["birth_year"] = self._birth_year()
        types = {column.name: _SQL[column.type] for column in self.table.columns}
        columns = [f"CAST({sql or 'NULL'} AS {types[name]}) AS {name}" for name, sql in present.items()]
        return f"SELECT _file, row_id, {', '.join(columns)}, {bad} AS bad FROM ({texts})"

    def check(self, texts: str, column: str) -> str:
        """SELECT of how many rows have a text in `column`, and how many of those have a value, from `texts`."""
        typed = self._typed(next(mapped for mapped in self.mapped if mapped.name == column))
        return f"SELECT count(*) AS rows, count({column}) AS given, count({typed}) AS read FROM ({texts})"

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
        return f"nullif(concat_ws({quote(origin.join)}, {', '.join(parts)}), '')"

    def _typed(self, column: Column) -> str:
        origin, name = self.to.map[column.name], column.name
        if column.type == "timestamp":
            return time_sql(name, origin, origin.timezone or self.source.timezone)
        if column.type == "float":
            return number_sql(name, origin.scale)
        if column.type == "int":
            return whole_sql(name)
        if column.type == "strings":
            return purposes_sql(name, self.purpose)
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
            text = f"nullif(trim({self.columns[name]}), '')"
            pairs.append(f"{quote(name)}, {mask_sql(text) if self.table.name == 'users' else text}")
        return f"nullif(json_merge_patch('{{}}', json_object({', '.join(pairs)}))::VARCHAR, '{{}}')"

    def _bad(self, typed: Mapping[str, str]) -> str:
        measured = [column.name for column in self.mapped if column.type in _MEASURED]
        if not measured:
            return "CAST(NULL AS VARCHAR)"
        misfit = {name: f"({name} IS NOT NULL AND ({typed[name]}) IS NULL)" for name in measured}
        pairs = ", ".join(f"{quote(name)}, CASE WHEN {misfit[name]} THEN {mask_value_sql(name)} END" for name in measured)
        return (
            f"CASE WHEN {' OR '.join(misfit.values())} THEN json_merge_patch('{{}}', json_object({pairs}))::VARCHAR END"
        )

    def _birth_year(self) -> str:
        origin = self.to.map["birth_date"]
        date = f"year({time_sql('birth_date', origin, 'UTC')})"
        return f"coalesce({date}, TRY_CAST(regexp_extract(birth_date, '(^|[^0-9])((18|19|20)[0-9]{{2}})([^0-9]|$)', 2) AS BIGINT))"

    @staticmethod
    def _fill_amounts(present: dict[str, str | None]) -> None:
        quantity, price, amount = (present[name] for name in ("quantity", "price", "amount"))
        if quantity and price:
            product = f"({quantity}) * ({price})"
            present["amount"] = f"coalesce({amount}, {product})" if amount else product
        if quantity and amount:
            quotient = f"({amount}) / nullif({quantity}, 0)"
            present["price"] = f"coalesce({price}, {quotient})" if price else quotient


_SQL = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMP",
    "json": "VARCHAR",
    "strings": "VARCHAR[]",
}


def identifier_sql(kind: str, value: str) -> str:
    """An identifier as it is compared: e-mail in lower case, a phone number its digits without +86."""
    digits = f"regexp_replace(regexp_replace({value}, '[^0-9+]', '', 'g'), '^(\\+86|0086)', '')"
    return (
        f"CASE WHEN lower({kind}) IN ('email', 'e-mail', '邮箱') THEN lower({value}) "
        f"WHEN lower({kind}) IN ('phone', 'mobile', '手机', '电话') THEN {digits} ELSE {canonical_id(value)} END"
    )


def used_columns(source: SourceSettings, known: list[str] | None = None) -> list[str]:
    """The source columns that the mapping reads, each once."""
    names: list[str] = []
    for to in source.to:
        for origin in to.map.values():
            names += [origin.column] if origin.column is not None else list(origin.columns)
        names += to.extra
        if to.where:
            filter_sql(to.where, lambda name: names.append(name) or "''")  # type: ignore[func-returns-value]
    return list(dict.fromkeys(names))
