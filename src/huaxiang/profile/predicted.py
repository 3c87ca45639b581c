"""What is predicted in this shop: the outcomes, the columns they take in `profiles`, and the model behind each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from huaxiang.engine import Lake
from huaxiang.engine.duck import quote
from huaxiang.profile.say import Text, both, label_of
from huaxiang.words import LANGS

Row = dict[str, Any]
HEADLINES = {"binary": ("roc_auc",), "class": ("accuracy",), "number": ("spearman", "r2")}


@dataclass(frozen=True)
class Outcome:
    """One outcome the shop predicts. `column`: its column in `profiles`; `card`: the winner's headline figure."""

    name: str
    column: str
    kind: str  # binary, number or class
    meaning: Text
    within_days: int = 0
    money: bool = False
    version: str = ""
    baseline: float | None = None
    card: Row | None = field(default=None, compare=False)

    @property
    def unit(self) -> str:
        return {"binary": "probability", "class": ""}.get(self.kind, "money" if self.money else "")


def find_outcomes(lake: Lake, kinds: Mapping[str, str], taken: Collection[str]) -> list[Outcome]:
    """The outcomes with predictions worth using, in the order they were declared.

    kinds: outcome -> kind, as the predictions themselves show it; taken: columns that `profiles` has already
    """
    told = {outcome["name"]: outcome for outcome in lake.note("build").get("outcomes", [])}
    cards = read_cards(lake)
    used, found = set(taken), []
    for name in [*(name for name in told if name in kinds), *(name for name in sorted(kinds) if name not in told)]:
        card, about = cards.get(name), told.get(name, {})
        if card is not None and card.get("worth_using") is False:
            continue
        column = name if name not in used else f"{name}_predicted"
        used |= {column, f"{column}_confidence"}
        kind = about.get("kind") or kinds[name]
        found.append(
            Outcome(
                name=name,
                column=column,
                kind=kind,
                meaning=_meaning(name, about),
                within_days=int(about.get("within_days") or 0),
                money=kind == "number" and _is_money(name, about),
                version=str(about.get("version") or ""),
                baseline=_base_rate(card),
                card=_headline(card),
            )
        )
    return found


def find_kinds(lake: Lake, predictions: str) -> dict[str, str]:
    """Outcome -> kind, by what its predictions look like. predictions: SQL of the table."""
    rows = lake.engine.rows(
        "SELECT outcome, CASE WHEN count(label) > 0 THEN 'class' WHEN bool_and(value BETWEEN 0 AND 1) AND count(threshold) > 0 THEN 'binary' "
        f"ELSE 'number' END AS kind FROM ({predictions}) GROUP BY outcome ORDER BY outcome"
    )
    return {row["outcome"]: row["kind"] for row in rows}


def pivot_sql(predictions: str, outcomes: Collection[Outcome]) -> str:
    """SQL of one row a user: each outcome's value (the label of a class) and its confidence. predictions: SQL of the table."""
    columns = []
    for outcome in outcomes:
        here, value = f"FILTER (outcome = {quote(outcome.name)})", "label" if outcome.kind == "class" else "value"
        columns.append(f"{_finite(f'any_value({value}) {here}', outcome)} AS {name_sql(outcome.column)}")
        columns.append(f"any_value(confidence) {here} AS {name_sql(outcome.column + '_confidence')}")
    return f"SELECT user_id, {', '.join(columns)} FROM ({predictions}) GROUP BY user_id"


def thresholds(lake: Lake, predictions: str) -> dict[str, float]:
    """Outcome -> the threshold its model chose."""
    rows = lake.engine.rows(
        f"SELECT outcome, max(threshold) AS line FROM ({predictions}) WHERE isfinite(threshold) GROUP BY outcome"
    )
    return {row["outcome"]: row["line"] for row in rows if row["line"] is not None}


def read_cards(lake: Lake) -> dict[str, Row]:
    """Outcome -> its score card; an outcome whose card is gone is left out."""
    found = {}
    for outcome, path in lake.note("train").get("cards", {}).items():
        file = lake.folder.parent / "models" / path
        if file.exists():
            found[outcome] = json.loads(file.read_text(encoding="utf-8"))
    return found


def name_sql(name: str) -> str:
    """A column name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def _finite(sql: str, outcome: Outcome) -> str:
    return sql if outcome.kind == "class" else f"CASE WHEN isfinite({sql}) THEN {sql} END"


def _meaning(name: str, about: Mapping[str, Any]) -> Text:
    said = {lang: str(about.get(f"meaning_{lang}") or "").strip() for lang in LANGS}
    plain = label_of(name)
    return {lang: said[lang] or said["en"] or plain[lang] for lang in LANGS}


def _is_money(name: str, about: Mapping[str, Any]) -> bool:
    return (
        about.get("unit") == "money" or about.get("column") == "amount" or name.startswith(("spend", "revenue", "ltv"))
    )


def _base_rate(card: Row | None) -> float | None:
    """How common the outcome is among those it was tested on."""
    data = (card or {}).get("data") or {}
    for split in ("test", "valid", "train"):
        rate = (data.get(split) or {}).get("base_rate") if isinstance(data.get(split), dict) else None
        if isinstance(rate, int | float):
            return float(rate)
    rate = data.get("base_rate")
    if isinstance(rate, dict):
        rate = rate.get("test")
    return float(rate) if isinstance(rate, int | float) else None


def _headline(card: Row | None) -> Row | None:
    """The one figure that says how good the winner was on data it had not seen."""
    if card is None:
        return None
    scores = {model["name"]: model.get("test") or {} for model in card.get("models", [])}
    test = scores.get(card.get("model", ""), {})
    for metric in HEADLINES.get(card.get("kind", ""), ()):
        figure = test.get(metric) or {}
        if isinstance(figure.get("value"), int | float):
            least = (scores.get(card.get("baseline", ""), {}).get(metric) or {}).get("value")
            shown = {"value": f"{figure['value']:.3f}"}
            key = f"profile.card.{metric}"
            if metric == "accuracy":
                shown, key = (
                    (shown | {"baseline": f"{least:.3f}"}, key)
                    if isinstance(least, int | float)
                    else (shown, f"{key}_alone")
                )
            return {
                "metric": metric,
                "value": figure["value"],
                "low": figure.get("low"),
                "high": figure.get("high"),
                "text": both(key, **shown),
            }
    return None
