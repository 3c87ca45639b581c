"""The rules a row is judged by, each declared as data: its code, its table, and when it holds.

A rule here looks at one row. Those that need other rows (duplicates, robots, older versions, unknown items) live in
`duplicates.py`, `robots.py` and `judge.py` and use the same codes. Their meaning in words: clean.rule.CODE.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from huaxiang.engine.duck import quote
from huaxiang.settings import CleanSettings
from huaxiang.tables import EVENT_NAMES, TABLES


@dataclass(frozen=True)
class Rule:
    """`when`: SQL over a tidy raw row, true where the row is to be quarantined. `column`: the column at fault, if one is."""

    code: str
    table: str
    when: str
    detail: str = "''"
    column: str | None = None


@dataclass(frozen=True)
class Bounds:
    """What is possible, as moments: taken once from the settings and the clock."""

    earliest: datetime
    latest: datetime
    first_birth_year: int
    last_birth_year: int

    @classmethod
    def of(cls, settings: CleanSettings, now: datetime) -> Bounds:
        latest = datetime.fromisoformat(settings.latest) + timedelta(days=1) if settings.latest else now
        return cls(datetime.fromisoformat(settings.earliest), latest, now.year - settings.max_age, now.year)


def row_rules(table: str, bounds: Bounds, settings: CleanSettings) -> tuple[Rule, ...]:
    """The rules of one row of `table`, in the order in which they are asked; the first that holds is the reason."""
    rules = [*_contract(table), *_sense(table, bounds)]
    off = skipped(settings)
    return tuple(rule for rule in rules if rule.code not in off)


def skipped(settings: CleanSettings) -> set[str]:
    """Codes of the rules this shop has turned off."""
    off = set(settings.skip)
    return (
        off
        | ({"test_account"} if not settings.drop_test else set())
        | ({"robot"} if not settings.drop_robots else set())
    )


def reason_sql(rules: tuple[Rule, ...]) -> str:
    """SQL giving the code of the first rule that holds, or NULL."""
    return _case(rules, "code")


def detail_sql(rules: tuple[Rule, ...]) -> str:
    """SQL giving the detail of the first rule that holds, or NULL."""
    return _case(rules, "detail")


def invalid_sql(table: str, column: str, bounds: Bounds) -> str | None:
    """SQL true where a value of `column` is there but cannot be, by any rule or repair; None where nothing can be wrong."""
    tests = [rule.when for rule in _sense(table, bounds) if rule.column == column]
    tests += [repair.when for repair in value_repairs(table, bounds) if repair.column == column and repair.wrong]
    return " OR ".join(f"coalesce(({test}), false)" for test in tests) or None


@dataclass(frozen=True)
class RepairRule:
    """`when`: SQL over a tidy raw row, true where `column` is changed. `wrong`: the value was impossible, not only unusual."""

    code: str
    table: str
    column: str
    when: str
    wrong: bool = True


GENDERS = {
    "male": ("male", "m", "man", "boy", "男", "男性", "先生"),
    "female": ("female", "f", "woman", "girl", "女", "女性", "女士"),
    "other": ("other", "x", "nonbinary", "non-binary", "diverse", "其他"),
}


def gender_sql(value: str = "gender") -> str:
    """SQL giving female, male, other, or NULL for a word that is none of them surely (0, 1, 2, U …)."""
    arms = " ".join(f"WHEN lower({value}) IN ({_list(words)}) THEN '{name}'" for name, words in GENDERS.items())
    return f"CASE {arms} END"


def value_repairs(table: str, bounds: Bounds) -> tuple[RepairRule, ...]:
    """The repairs of single values: the row stays, the value is set right or emptied."""
    if table == "users":
        return (
            RepairRule(
                "impossible_birth_year",
                table,
                "birth_year",
                f"birth_year NOT BETWEEN {bounds.first_birth_year} AND {bounds.last_birth_year}",
            ),
            RepairRule("impossible_registration", table, "registered_at", _outside("registered_at", bounds)),
            RepairRule("unclear_gender", table, "gender", f"gender IS NOT NULL AND {gender_sql()} IS NULL"),
            RepairRule(
                "spelled_gender",
                table,
                "gender",
                f"{gender_sql()} IS NOT NULL AND {gender_sql()} <> gender",
                wrong=False,
            ),
        )
    if table == "items":
        return (RepairRule("negative_list_price", table, "price", "price < 0"),)
    if table == "relations":
        return (RepairRule("impossible_since", table, "since", _outside("since", bounds)),)
    if table == "identifiers":
        return (RepairRule("impossible_seen", table, "ts", _outside("ts", bounds)),)
    return (
        RepairRule("negative_discount", table, "discount", "discount < 0"),
        RepairRule("received_before", table, "received_at", "received_at < ts"),
        RepairRule(
            "price_mismatch",
            table,
            "price",
            "event = 'purchase' AND quantity > 0 AND amount >= 0 AND price >= 0 AND "
            "abs(amount / quantity - price) > greatest(0.011, 0.01 * price)",
        ),
        RepairRule(
            "amount_absent",
            table,
            "amount",
            "amount IS NULL AND quantity IS NOT NULL AND price IS NOT NULL",
            wrong=False,
        ),
    )


def _contract(table: str) -> list[Rule]:
    """Rules that keep the promises of `tables.py`."""
    required = [column.name for column in TABLES[table].stored if column.required]
    rules = []
    if required:
        bad = " OR ".join(f"({name} IS NULL AND {in_bad(name)})" for name in required)
        named = ", ".join(f"CASE WHEN {name} IS NULL AND {in_bad(name)} THEN '{name}' END" for name in required)
        absent = " OR ".join(f"{name} IS NULL" for name in required)
        missing = ", ".join(f"CASE WHEN {name} IS NULL THEN '{name}' END" for name in required)
        rules.append(Rule("wrong_type", table, f"bad IS NOT NULL AND ({bad})", f"concat_ws(', ', {named})"))
        rules.append(Rule("missing_required", table, absent, f"concat_ws(', ', {missing})"))
    if table in ("events", "identifiers"):
        rules.append(Rule("no_user", table, "user_id IS NULL AND anonymous_id IS NULL"))
    return rules


def _sense(table: str, bounds: Bounds) -> list[Rule]:
    """Rules of what is possible in a shop."""
    rules: list[Rule] = []
    if table == "events":
        names = _list(tuple(EVENT_NAMES))
        rules = [
            Rule("unknown_event", table, f"event NOT IN ({names})", "event", "event"),
            Rule("impossible_time", table, _outside("ts", bounds), "strftime(ts, '%Y-%m-%d %H:%M:%S')", "ts"),
            Rule("negative_price", table, "price < 0", "price::VARCHAR", "price"),
        ]
    if table == "relations":
        rules = [Rule("self_relation", table, "user_id = other_id", "''", "other_id")]
    return [*rules, Rule("test_account", table, "coalesce(is_test, false)")]


def in_bad(column: str) -> str:
    """SQL true where the raw value of `column` did not fit its type."""
    return f"coalesce(json_exists(bad, '$.{column}'), false)"


def _outside(column: str, bounds: Bounds) -> str:
    return f"{column} < TIMESTAMP '{bounds.earliest}' OR {column} > TIMESTAMP '{bounds.latest}'"


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _case(rules: tuple[Rule, ...], part: str) -> str:
    if not rules:
        return "NULL::VARCHAR"
    arms = " ".join(f"WHEN {rule.when} THEN {quote(rule.code) if part == 'code' else rule.detail}" for rule in rules)
    return f"CASE {arms} END"
