"""Why a feature has its value for one customer: the definition, the events, and the arithmetic, step by step.

The steps are those of the live fold over the customer's own events; those of what has no fold (a quantile, a
rank) are in batch_steps.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.errors import DefinitionError, UnknownUserError
from huaxiang.features.algebra import Feature
from huaxiang.features.batch_steps import Step, batch_steps
from huaxiang.features.evidence import Evidence, defined_features, evidence
from huaxiang.features.filters import EVENT_CODES
from huaxiang.features.live.fold import Fold, why_not_live
from huaxiang.features.live.past import past_rows, past_sql
from huaxiang.features.nodes import ARITHMETIC, COMPARE, DAY, Node, sql
from huaxiang.features.plan import (
    Best,
    DayFold,
    Exact,
    KeyFold,
    KeyPlan,
    Met,
    Over,
    Plan,
    Shares,
    Since,
    Strongest,
    Total,
)
from huaxiang.features.scores import SCORES
from huaxiang.features.text import EPOCH
from huaxiang.features.windows import Window
from huaxiang.features.zones import local_day
from huaxiang.settings import Settings
from huaxiang.words import Lang, Words


@dataclass(frozen=True)
class Explanation:
    """value: as the last build stored it. steps: the figures it is made of. formula: how they make the value."""

    feature: Feature
    user_id: str
    as_of: date
    value: Any
    evidence: Evidence
    steps: tuple[Step, ...]
    formula: str
    history_from: date | None = None  # where the window reaches back before the shop's first event: the day of that


def explain_feature(
    lake: Lake, settings: Settings, name: str, user_id: str, *, lang: Lang = "en", limit: int = 20
) -> Explanation:
    """Why `user_id` (as stored) has this value of the feature `name`, as of the last build.

    raises: DefinitionError for an unknown feature, UnknownUserError for someone without features
    """
    feature = defined_features(lake, settings, [name])[name]
    as_of = date.fromisoformat(lake.note("build")["as_of"])
    features = lake.engine.sql(lake.table("features"))
    found = lake.engine.rows(f'SELECT "{name}" AS value FROM ({features}) WHERE user_id = {quote(user_id)}')
    if not found:
        raise UnknownUserError("profile.unknown_user")
    said = evidence(lake, settings, user_id, [name], limit)[name]
    words = Words(lang)
    if feature.name in SCORES or why_not_live(feature):
        steps, formula = batch_steps(lake, feature, user_id, as_of, words)
    else:
        steps, formula = _fold_steps(lake, settings, feature, user_id, as_of, words)
    first = lake.note("build").get("history_from")
    began = date.fromisoformat(first) if first else None
    days = Window.parse(feature.window, name=name).days
    short = began if began is not None and days and as_of - timedelta(days=days) < began else None
    return Explanation(feature, user_id, as_of, found[0]["value"], said, steps, formula, short)


def _fold_steps(
    lake: Lake, settings: Settings, feature: Feature, user_id: str, as_of: date, words: Words
) -> tuple[tuple[Step, ...], str]:
    fold = Fold([feature], session_gap_min=settings.features.session_gap_min, bounded=False)
    users = lake.engine.sql(lake.table("ready.users"))
    row = lake.engine.rows(f"SELECT user_no, registered_at FROM ({users}) WHERE user_id = {quote(user_id)}")[0]
    events = lake.engine.sql(lake.table("ready.events"))
    state = fold.empty()
    for _, event in past_rows(lake.engine, past_sql(fold, events, as_of, f"user_no = {row['user_no']}")):
        fold.add(state, event)
    joined = local_day(row["registered_at"], settings.shop.timezone) if row["registered_at"] else None
    values = fold.figures(state, as_of, registered=joined)
    plan = Plan()
    feature.compile(plan)
    used = [name for name in _columns_in_order(plan.finals[feature.name]) if name in values]
    names = dict(zip(used, _letters(len(used)), strict=True))
    days = {"as_of_no", "registered_no", *(alias for total, alias in plan.totals.items() if total.measure.value == DAY)}
    steps = tuple(
        Step(names[column], _what(plan, column, words), _day(values[column]) if column in days else values[column])
        for column in used
    )
    return steps, _formula(plan.finals[feature.name], names)


def _day(number: int | None) -> date | None:
    return None if number is None else EPOCH + timedelta(days=number)


def _columns_in_order(node: Node) -> list[str]:
    return list(dict.fromkeys(found.args[0] for found in node.walk() if found.op == "column"))


def _letters(count: int) -> list[str]:
    return [chr(ord("a") + place) if place < 26 else f"a{place}" for place in range(count)]


def _what(plan: Plan, column: str, words: Words) -> str:
    """What a column of the plan is, in words."""
    if column == "as_of_no":
        return words("features.explain.as_of")
    if column == "registered_no":
        return words("features.explain.registered")
    for total, alias in plan.totals.items():
        if alias == column:
            return _total(total, words)
    for made in plan.keys.values():
        for fold, alias in made.folds.items():
            if alias == column:
                return _key_fold(fold, made, words)
    for day_fold, alias in plan.days.items():
        if alias == column:
            return _day_fold(day_fold, words)
    for exact, alias in plan.exacts.items():
        if alias == column:
            return _sequence(exact, words)
    raise DefinitionError("features.unknown_feature", name=column, known="")


def _total(total: Total, words: Words) -> str:
    measure = total.measure
    how = words(f"features.explain.{measure.how}{'_day' if measure.value == DAY else ''}", value=_value(measure.value))
    if measure.half_life:
        how = words("features.explain.decayed", what=how, days=f"{measure.half_life:g}")
    return _place(how, measure.condition, total.window, words)


def _place(what: str, condition: Node | None, window: Window, words: Words) -> str:
    where = words("features.explain.where", condition=_value(condition)) if condition is not None else ""
    return f"{what}{where}{_window(window, words)}"


def _window(window: Window, words: Words) -> str:
    if not window.days:
        return words("features.explain.whole")
    key = "features.explain.before" if window.shift else "features.explain.window"
    return words(key, days=window.days, shift=window.shift)


def _key_fold(fold: KeyFold, made: KeyPlan, words: Words) -> str:
    key = _value(made.key)
    match fold:
        case Met():
            return words("features.explain.met", key=key, of=_total(fold.count, words))
        case Since():
            window = Window(fold.days)
            how = "first" if fold.day.measure.how == "min" else "last"
            return _place(words(f"features.explain.since_{how}", key=key), fold.day.measure.condition, window, words)
        case Over():
            only = f" ({fold.only})" if fold.only is not None else ""
            return words(f"features.explain.over_{fold.how}", key=f"{key}{only}", of=_total(fold.total, words))
        case Shares():
            return words("features.explain.shares", key=key, of=_total(fold.count, words))
        case Best():
            return words("features.explain.best", key=key, of=_total(fold.count, words))
        case Strongest():
            return words("features.explain.strongest", key=key, k=fold.k, of=_total(fold.score, words))


def _day_fold(fold: DayFold, words: Words) -> str:
    return _place(words(f"features.explain.days_{fold.how}"), fold.where.node, fold.window, words)


def _sequence(exact: Exact, words: Words) -> str:
    return _place(
        words("features.explain.latest", n=exact.n, value=_value(exact.value)), exact.where.node, exact.window, words
    )


def _value(node: Node | None) -> str:
    """A filter or value as text; event codes as names."""
    if node is None:
        return ""
    if node.op == "weights":
        names = {code: name for name, code in EVENT_CODES.items()}
        return ", ".join(f"{names[code]} {weight:g}" for code, weight in node.args[1])
    if node.op == "band":
        return f"{_value(node.args[0])} / {', '.join(f'{edge:g}' for edge in node.args[1])}"
    if node.op == "float":
        return _value(node.args[0])
    text = sql(node)
    for name, code in EVENT_CODES.items():
        text = text.replace(f"event_no = {code})", f"event = {name})")
    said = {str(code): name for name, code in EVENT_CODES.items()}
    text = re.sub(
        r"event_no IN \(([\d, ]+)\)",
        lambda found: f"event IN ({', '.join(said[code] for code in found[1].split(', '))})",
        text,
    )
    return text.removeprefix("(").removesuffix(")") if text.startswith("(") and text.count("(") == 1 else text


def _formula(node: Node, names: dict[str, str]) -> str:
    """How the steps make the value, as one line."""
    args = node.args
    match node.op:
        case "column":
            return names.get(args[0], args[0])
        case "const":
            return f"{args[1]:g}" if isinstance(args[1], float) else str(args[1])
        case "float":
            return _formula(args[0], names)
        case "coalesce":
            return f"({_formula(args[0], names)} or {_formula(args[1], names)})"
        case op if op in ARITHMETIC or op in COMPARE:
            sign = {"sub": "−", "mul": "×", "div": "÷"}.get(op) or (ARITHMETIC | COMPARE)[op]
            return f"({_formula(args[0], names)} {sign} {_formula(args[1], names)})"
        case op:
            return f"{op}({', '.join(_formula(arg, names) for arg in args if isinstance(arg, Node))})"
