"""Which rows of a table are accepted, and the verdict on each of the others."""

from __future__ import annotations

from dataclasses import dataclass

import ibis

from huaxiang.clean.duplicates import cut_times, older_versions, repeated_ids, repeated_rows
from huaxiang.clean.robots import find_robots
from huaxiang.clean.rules import Bounds, Rule, detail_sql, reason_sql, row_rules, skipped
from huaxiang.engine import Engine
from huaxiang.settings import CleanSettings

NO_VERDICTS = "SELECT ''::VARCHAR AS row_id, ''::VARCHAR AS reason, ''::VARCHAR AS detail WHERE false"
NOBODY = "SELECT ''::VARCHAR AS who, ''::VARCHAR AS reason, ''::VARCHAR AS detail WHERE false"


@dataclass(frozen=True)
class Judged:
    """A table judged. `tidy`: SQL of all raw rows, tidied; `verdicts`: row_id, reason, detail; `banned`: who, reason, detail.

    A row is rejected by a row rule first, then for who did it, then by a verdict on the row.
    """

    table: str
    tidy: str
    rules: tuple[Rule, ...]
    verdicts: ibis.Table
    banned: ibis.Table

    @property
    def accepted(self) -> str:
        """SQL of the rows that go on, tidied."""
        who = self._who("r")
        ban = f"ANTI JOIN {self.banned.get_name()} b ON b.who = {who}" if who else ""
        passed = f"SELECT * FROM ({self.tidy}) WHERE ({reason_sql(self.rules)}) IS NULL"
        return f"SELECT r.* FROM ({passed}) r ANTI JOIN {self.verdicts.get_name()} v ON v.row_id = r.row_id {ban}"

    @property
    def rejected(self) -> str:
        """SQL of the rows that do not: row_id, reason, detail."""
        who = self._who("r")
        ban = f"LEFT JOIN {self.banned.get_name()} b ON b.who = {who}" if who else ""
        banned = ("b.reason", "b.detail") if who else ("NULL", "NULL")
        return (
            "SELECT row_id, reason, detail FROM (SELECT r.row_id, "
            f"coalesce(r.hx_reason, {banned[0]}, v.reason) AS reason, "
            f"CASE WHEN r.hx_reason IS NOT NULL THEN r.hx_detail ELSE coalesce({banned[1]}, v.detail) END AS detail "
            f"FROM (SELECT *, {reason_sql(self.rules)} AS hx_reason, {detail_sql(self.rules)} AS hx_detail FROM ({self.tidy})) r "
            f"LEFT JOIN {self.verdicts.get_name()} v ON v.row_id = r.row_id {ban}) WHERE reason IS NOT NULL"
        )

    def _who(self, row: str) -> str | None:
        return {
            "users": f"{row}.user_id",
            "relations": f"{row}.user_id",
            "events": f"coalesce({row}.user_id, {row}.anonymous_id)",
            "identifiers": f"coalesce({row}.user_id, {row}.anonymous_id)",
        }.get(self.table)


def judge_events(
    engine: Engine, tidy: str, bounds: Bounds, settings: CleanSettings, *, tests: ibis.Table, items: ibis.Table | None
) -> Judged:
    """The events judged: duplicates, test accounts, robots and (where the shop asks) unknown items.

    tests: who, reason, detail of test accounts; items: the clean items, where the shop has any
    """
    off = skipped(settings)
    rules = row_rules("events", bounds, settings)
    passed = f"SELECT * FROM ({tidy}) WHERE ({reason_sql(rules)}) IS NULL"
    made: list[ibis.Table] = []
    if "duplicate_event_id" not in off:
        made.append(repeated_ids(engine, passed))
    if "duplicate_row" not in off and settings.duplicate_by:
        made.append(repeated_rows(engine, passed, settings.duplicate_by, made[0] if made else None))
        if "ts" in settings.duplicate_by:
            made.append(cut_times(engine, passed, made))
    twice = _together(engine, made, NO_VERDICTS)
    banned = [tests]
    if "robot" not in off:
        banned.append(find_robots(engine, passed, settings, twice))
    verdicts = [twice]
    if items is not None and settings.unknown_items == "quarantine":
        verdicts.append(
            engine.keep(
                f"SELECT row_id, 'unknown_item' AS reason, item_id AS detail FROM ({passed}) "
                f"WHERE item_id IS NOT NULL AND item_id NOT IN (SELECT item_id FROM {items.get_name()}) "
                f"AND row_id NOT IN (SELECT row_id FROM {twice.get_name()})"
            )
        )
    return Judged("events", tidy, rules, _together(engine, verdicts, NO_VERDICTS), _one_each(engine, banned))


def judge_rows(
    engine: Engine, table: str, tidy: str, bounds: Bounds, settings: CleanSettings, banned: ibis.Table
) -> Judged:
    """Users, items, relations or identifiers judged; the newest version of each stays."""
    rules = row_rules(table, bounds, settings)
    passed = f"SELECT * FROM ({tidy}) WHERE ({reason_sql(rules)}) IS NULL"
    return Judged(table, tidy, rules, older_versions(engine, table, passed), banned)


def test_accounts(engine: Engine, tidies: list[str]) -> ibis.Table:
    """Who is a test account by any of the tables given (SQL with user_id and is_test): who, reason, detail."""
    if not tidies:
        return engine.keep(NOBODY)
    marked = " UNION ".join(f"SELECT user_id FROM ({tidy}) WHERE is_test AND user_id IS NOT NULL" for tidy in tidies)
    return engine.keep(f"SELECT user_id AS who, 'test_account' AS reason, '' AS detail FROM ({marked})")


def _together(engine: Engine, parts: list[ibis.Table], otherwise: str) -> ibis.Table:
    """One table of the parts, which are dropped; one verdict a row."""
    if len(parts) == 1:
        return parts[0]
    union = " UNION ALL ".join(f"SELECT * FROM {part.get_name()}" for part in parts) or otherwise
    kept = engine.keep(f"SELECT row_id, min(reason) AS reason, min(detail) AS detail FROM ({union}) GROUP BY row_id")
    for part in parts:
        engine.drop(part)
    return kept


def _one_each(engine: Engine, parts: list[ibis.Table]) -> ibis.Table:
    union = " UNION ALL ".join(f"SELECT * FROM {part.get_name()}" for part in parts)
    return engine.keep(
        f"SELECT who, max(reason) AS reason, arg_max(detail, reason) AS detail FROM ({union}) GROUP BY who"
    )
