"""From staged text to the raw tables: rows numbered, mapped, past the door, and only those not stored before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

from huaxiang.collect.door import Door
from huaxiang.collect.map import TableMap
from huaxiang.collect.raw import renew_raw
from huaxiang.collect.read import Stage
from huaxiang.collect.report import TableCount
from huaxiang.engine import Step
from huaxiang.engine.duck import quote
from huaxiang.errors import SourceError
from huaxiang.settings import SourceSettings
from huaxiang.tables import SQL, TABLES, raw_columns

_USERS = ("user_id", "other_id")
READ_SHARE = 0.5  # of a required column's values; fewer: the mapping is wrong, not the values


@contextmanager
def numbered(stage: Stage) -> Iterator[str]:
    """A query of the staged rows with their `row_id`.

    A row that stands twice in one file is two rows; one that stands in two files is one (the files overlap).
    """
    twice = stage.engine.keep(
        f"""
        WITH again AS (SELECT _hash FROM {stage.name} GROUP BY 1 HAVING count(*) > 1),
        counted AS (SELECT s.*, row_number() OVER (PARTITION BY _hash, _file) AS _nth FROM {stage.name} s SEMI JOIN again USING (_hash))
        SELECT * EXCLUDE (_nth), CASE _nth WHEN 1 THEN _hash ELSE {short_hash("_hash || '|' || _nth")} END AS row_id
        FROM counted QUALIFY row_number() OVER (PARTITION BY _hash, _nth ORDER BY _file) = 1
        """
    )
    name = twice.get_name()
    some = int(stage.engine.value(f"SELECT count(*) FROM {name}"))
    once = f"SELECT *, _hash AS row_id FROM {stage.name}"
    yield f"{once} s ANTI JOIN {name} t USING (_hash) UNION ALL SELECT * FROM {name}" if some else once
    stage.engine.drop(twice)


def short_hash(sql: str) -> str:
    return f"to_base64(unhex(md5({sql})[:18]))"


@dataclass(frozen=True)
class Lines:
    """Rows of each staged file: as read, and as numbered (without those that stand in an earlier file too)."""

    read: dict[int, int]
    single: dict[int, int]


@dataclass(frozen=True)
class Store:
    """Where the rows of one source go."""

    step: Step
    door: Door
    source: SourceSettings
    now: datetime

    def take_back(self, rows: str, stage: Stage, *, first: bool) -> None:
        """Before a changed mapping: take out what the old one made of these rows (and of what is no longer fed)."""
        engine = self.step.lake.engine
        fed = {to.table for to in self.source.to}
        whole = {to.table for to in self.source.to if to.distinct}
        for table in TABLES:
            if not self.step.has(f"raw.{table}"):
                continue
            kept = engine.sql(self.step.table(f"raw.{table}"))
            mine = f"source = {quote(self.source.name)}"
            if table in fed and table not in whole:
                ids = [
                    f"SELECT {self._nth_id(nth)} AS row_id FROM ({rows})"
                    for nth in range(sum(to.table == table for to in self.source.to))
                ]
                mine += f" AND row_id IN ({' UNION ALL '.join(ids)})"
            elif not first:
                continue
            if engine.value(f"SELECT count(*) FROM ({kept}) WHERE {mine}"):
                self.step.replace(f"raw.{table}", f"SELECT * FROM ({kept}) WHERE NOT ({mine})")

    def add(self, rows: str, stage: Stage, place: int, lines: Lines) -> dict[int, TableCount]:
        """Append what table number `place` of the source makes of `rows`; gives where the rows of each file went."""
        engine, to = self.step.lake.engine, self.source.to[place]
        table_map = TableMap(self.source, to, stage.columns, self.door.settings.purpose.lower())
        nth = sum(other.table == to.table for other in self.source.to[:place])
        texts = table_map.texts(f"SELECT * REPLACE ({self._nth_id(nth)} AS row_id) FROM ({rows})" if nth else rows)
        with ExitStack() as stack:
            if to.distinct:
                alike = engine.keep(self._distinct(texts, table_map, stage.salt))
                stack.callback(engine.drop, alike)
                texts = f"SELECT * FROM {alike.get_name()}"
            typed = table_map.typed(texts)
            self._learn(typed, table_map)
            judged = engine.keep(self._judged(typed, table_map))
            stack.callback(engine.drop, judged)
            name = judged.get_name()
            self._check(name, texts, table_map)
            counts = engine.rows(
                f"SELECT _file, count(*) AS mapped, count(*) FILTER (_refused) AS refused, "
                f"count(*) FILTER (_known AND NOT _refused) AS repeated FROM {name} GROUP BY 1"
            )
            new = f"SELECT * FROM {name} WHERE NOT _refused AND NOT _known"
            personal = [column.name for column in table_map.mapped if column.personal]
            if personal:
                self.door.keep_personal(
                    f"SELECT user_id, {', '.join(personal)} FROM ({new}) WHERE user_id IS NOT NULL", personal
                )
            renew_raw(self.step, to.table)
            self.step.append(f"raw.{to.table}", f"SELECT {self._columns(table_map)} FROM ({new})")
        return {number: self._count(to.table, number, lines, counts) for number in lines.read}

    def _columns(self, table_map: TableMap) -> str:
        """Every column of the raw table; those not mapped are NULL, lineage is the same for all rows."""
        same = {
            "source": quote(self.source.name),
            "third_party": str(self.source.third_party).lower(),
            "collected_at": f"TIMESTAMP '{self.now.isoformat(sep=' ')}'",
        } | {name: name for name in (*table_map.present, "row_id", "is_test", "bad")}
        return ", ".join(
            f"CAST({same.get(column.name, 'NULL')} AS {SQL[column.type]}) AS {column.name}"
            for column in raw_columns(table_map.table.name)
        )

    @staticmethod
    def _count(table: str, number: int, lines: Lines, counts: list[dict[str, int]]) -> TableCount:
        found = next((row for row in counts if row["_file"] == number), {"mapped": 0, "refused": 0, "repeated": 0})
        single = lines.single.get(number, 0)
        stored = found["mapped"] - found["refused"] - found["repeated"]
        return TableCount(
            table, stored, found["repeated"] + lines.read[number] - single, found["refused"], single - found["mapped"]
        )

    def misfits(self) -> dict[str, int]:
        """Rows stored by this run with a value that did not fit its type, by table."""
        engine, found = self.step.lake.engine, {}
        for table in dict.fromkeys(to.table for to in self.source.to):
            rows = engine.sql(self.step.table(f"raw.{table}"))
            mine = f"source = {quote(self.source.name)} AND collected_at = {self._now}"
            found[table] = int(engine.value(f"SELECT count(bad) FROM ({rows}) WHERE {mine}"))
        return {table: count for table, count in found.items() if count}

    @property
    def _now(self) -> str:
        return f"TIMESTAMP '{self.now.isoformat(sep=' ')}'"

    @staticmethod
    def _nth_id(nth: int) -> str:
        """A source that makes several rows of one table from one line gives each an id of its own."""
        return short_hash(f"row_id || '#{nth}'") if nth else "row_id"

    @staticmethod
    def _distinct(texts: str, table_map: TableMap, salt: str) -> str:
        names = [column.name for column in table_map.mapped]
        names += ["extra"] if table_map.to.extra and "extra" not in names else []
        parts = ", ".join(f"coalesce({name}, chr(30)), chr(31)" for name in names)
        hashed = short_hash(f"concat({quote(salt + table_map.to.table)}, {parts})")
        listed = ", ".join(names)
        return (
            f"SELECT *, {hashed} AS row_id FROM (SELECT min(_file) AS _file, {listed} FROM ({texts}) GROUP BY {listed})"
        )

    def _check(self, judged: str, texts: str, table_map: TableMap) -> None:
        """Raises SourceError where a required column cannot be read as mapped: nothing is stored then."""
        engine = self.step.lake.engine
        for column in table_map.table.columns:
            if not column.required:
                continue
            origin = table_map.to.map[column.name]
            place = {
                "source": self.source.name,
                "table": table_map.table.name,
                "column": column.name,
                "origin": origin.column or ", ".join(origin.columns),
            }
            misfit = f"{column.name} IS NULL AND CASE WHEN bad IS NOT NULL THEN json_exists(bad, '$.{column.name}') ELSE false END"
            [found] = engine.rows(
                f"SELECT count(*) AS rows, count({column.name}) AS read, count(*) FILTER ({misfit}) AS unread FROM {judged}"
            )
            if found["rows"] and not found["read"] + found["unread"]:
                raise SourceError("collect.nothing_in_column", **place)
            if found["read"] < READ_SHARE * (found["read"] + found["unread"]):
                samples = [row["text"] for row in engine.rows(table_map.samples(texts, column.name))]
                share = f"{found['unread'] / (found['read'] + found['unread']):.0%}"
                raise SourceError("collect.column_unread", **place, share=share, samples=", ".join(map(repr, samples)))

    def _learn(self, typed: str, table_map: TableMap) -> None:
        mapped = {column.name for column in table_map.mapped}
        users = [name for name in _USERS if name in mapped]
        others = [
            column.name
            for column in table_map.table.columns
            if column.pseudonym and column.name in mapped and column.name not in users
        ]
        for names, shop_ids in ((users, True), (others, False)):
            if names:
                self.door.learn(
                    " UNION ALL ".join(f"SELECT DISTINCT {name} AS id FROM ({typed})" for name in names),
                    shop_ids=shop_ids,
                )

    def _judged(self, typed: str, table_map: TableMap) -> str:
        """The typed rows with pseudonyms for ids, and whether each is a test's, `_refused` or already `_known`."""
        table = table_map.table
        ids = [column.name for column in table.columns if column.pseudonym and column.name in table_map.present]
        joins = " ".join(f"LEFT JOIN {self.door.ids} AS i_{column} ON t.{column} = i_{column}.id" for column in ids)
        users = [column for column in ids if column in _USERS]
        refused = [f"coalesce(i_{column}.refused, false)" for column in users]
        asks = any("consent" in to.map for to in self.source.to if to.table == "users")
        if not self.source.consent_default and not asks:
            refused += [f"NOT coalesce(i_{column}.agreed, false)" for column in users]
        test = [f"coalesce(i_{column}.is_test, false)" for column in users]
        test += [
            self.door.test_sql(f"t.{column}")
            for column in ("name", "email")
            if table.name == "users" and column in table_map.present
        ]
        known = "false"
        if self.step.has(f"raw.{table.name}"):
            rows = self.step.lake.engine.sql(self.step.table(f"raw.{table.name}"))
            joins += f" LEFT JOIN (SELECT row_id AS seen FROM ({rows}) WHERE source = {quote(self.source.name)}) k ON k.seen = t.row_id"
            known = "k.seen IS NOT NULL"
        replaced = ", ".join(f"i_{column}.pseudonym AS {column}" for column in ids)
        return (
            f"SELECT t.* {f'REPLACE ({replaced})' if ids else ''}, ({' OR '.join(test) or 'false'}) AS is_test, "
            f"({' OR '.join(refused) or 'false'}) AS _refused, ({known}) AS _known FROM ({typed}) t {joins}"
        )
