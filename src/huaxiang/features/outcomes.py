"""Outcomes: the algebra looking forward. Declared in [outcomes.NAME]; labels at several as-of dates, split by time.

    [outcomes.churn_30d]
    agg = "none"
    where = "event == 'purchase'"
    within = "30d"
    among = "purchases_90d > 0"

    [outcomes.next_category]
    agg = "first"                        # of the next such event; customers who have none within the window are not asked
    column = "category_top"
    where = "event == 'purchase'"
    within = "30d"

With horizon h and the last as-of `end`: the test date is T ≤ end − h, the validation date V ≤ T − max(h, step), the training
dates V − max(h, step) − k·step or earlier. So no label window of a training date reaches past V, and V's does not reach past T.

Each is the newest such day on a fixed grid: of whole weeks since 1970-01-01 for T and V, of whole steps for the training dates.
So the dates, and the rows computed for them, stay the same from one day's build to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal

from huaxiang.errors import DefinitionError
from huaxiang.features.filters import Expression, compile_filter, compile_value
from huaxiang.features.plan import EVENT_COLUMNS
from huaxiang.features.users import ATTRIBUTES
from huaxiang.features.windows import Window
from huaxiang.settings import OutcomeSettings, Settings, TrainSettings
from huaxiang.words import LANGS, Words

Kind = Literal["binary", "number", "class"]
Split = Literal["train", "valid", "test"]
HISTORY_DAYS = 60  # history wanted before the first training date; a quarter of the span where that is shorter
GRID_DAYS = 7  # of the test and validation dates
EPOCH = date(1970, 1, 1)
AGGREGATES = ("any", "none", "count", "sum", "first")
NUMBERS = ("int", "float")
_NUMERIC = ("birth_year",)


@dataclass(frozen=True)
class Outcome:
    """One outcome, checked. `among`: a condition over feature columns at as-of. `attribute`: a column of ready.users.

    bands: edges that make classes of the number (empty: it stays a number)
    """

    name: str
    kind: Kind
    agg: str
    where: Expression
    value: Expression
    days: int
    among: Expression
    attribute: str
    bands: tuple[float, ...]
    version: str
    settings: OutcomeSettings

    @property
    def columns(self) -> frozenset[str]:
        """The columns of events that its labels are made of."""
        ordered = {"ts", "event_id"} if self.agg == "first" else set()
        return self.where.columns | self.value.columns | ordered

    @property
    def band_names(self) -> list[str]:
        """The class below the first edge, those between two, and that from the last edge on."""
        edges = [f"{edge:.15g}" for edge in self.bands]
        between = [f"{low}–{high}" for low, high in pairwise(edges)]
        return [f"<{edges[0]}", *between, f"≥{edges[-1]}"]

    def note(self, train: TrainSettings) -> dict[str, object]:
        """What the build step's note says of it."""
        declared = {"en": self.settings.meaning, "zh": self.settings.meaning_zh or self.settings.meaning}
        say = {lang: declared[lang] or self._describe(Words(lang)) for lang in LANGS}
        return {
            "name": self.name, "kind": self.kind, "within_days": self.days or None, "among": self.settings.among,
            "meaning_en": say["en"], "meaning_zh": say["zh"], "version": self.version, "attribute": self.attribute or None,
            "value": self.settings.value if self.settings.value is not None else train.value,
            "cost": self.settings.cost if self.settings.cost is not None else train.cost,
        }  # fmt: skip

    def _describe(self, words: Words) -> str:
        """What it means, read off its definition; buying is said in plain words."""
        where, bought = (
            self.settings.where,
            self.settings.where.replace('"', "'").split() == ["event", "==", "'purchase'"],
        )
        key = f"features.outcome.{'attribute' if self.attribute else self.agg}"
        if bought and words.has(f"{key}_purchase") and (self.agg == "first" or self.settings.column in ("", "amount")):
            return words(f"{key}_purchase", days=self.days, column=self.settings.column)
        return words(
            key, what=self.attribute.removeprefix("users.") or where, column=self.settings.column, days=self.days
        )


@dataclass(frozen=True)
class Schedule:
    """The as-of dates of one outcome and what each is for; `step`: days between training dates (0: attributes)."""

    dates: dict[date, Split]
    step: int


def declare_outcome(name: str, settings: OutcomeSettings, features: Mapping[str, str]) -> Outcome:
    """The outcome of one [outcomes.NAME] entry, checked against the columns of events and the features (name -> type).

    raises: DefinitionError where it is not well declared
    """
    import hashlib

    if not (name.isidentifier() and name.isascii()):
        raise DefinitionError("features.name", name=name)
    version = hashlib.sha256(
        repr(
            (settings.agg, settings.column, settings.where, settings.within, settings.among, settings.attribute)
            + ((settings.bands,) if settings.bands else ())
        ).encode()
    ).hexdigest()[:12]
    among = compile_filter(settings.among, features, name=name)
    if settings.attribute:
        attribute = settings.attribute.removeprefix("users.")
        if not settings.attribute.startswith("users.") or not attribute:
            raise DefinitionError(
                "features.attribute", name=name, attribute=settings.attribute, known=", ".join(ATTRIBUTES)
            )
        kind: Kind = "number" if attribute in _NUMERIC else "class"
        if settings.bands:
            raise DefinitionError(
                "features.outcome_bands", name=name, bands=", ".join(f"{edge:g}" for edge in settings.bands)
            )
        return Outcome(name, kind, "", Expression(), Expression(), 0, among, attribute, (), version, settings)
    if settings.agg not in AGGREGATES:
        raise DefinitionError("features.outcome_agg", name=name, agg=settings.agg, known=", ".join(AGGREGATES))
    if not settings.within:
        raise DefinitionError("features.outcome_within", name=name)
    days = Window.parse(settings.within, name=name).days
    where = compile_filter(settings.where, EVENT_COLUMNS, name=name)
    summed = settings.agg in ("sum", "first")
    value = compile_value(settings.column, EVENT_COLUMNS, name=name) if summed else Expression()
    kind, bands = _kind(name, settings, value.type)
    return Outcome(name, kind, settings.agg, where, value, days, among, "", bands, version, settings)


def _kind(name: str, settings: OutcomeSettings, value: str) -> tuple[Kind, tuple[float, ...]]:
    """What an outcome of events is, and its bands. value: the type of what is summed or taken first."""
    if settings.agg == "sum" and value not in NUMBERS:
        raise DefinitionError("features.not_number", name=name, part=settings.column, text=settings.column)
    if settings.agg == "first" and value not in (*NUMBERS, "string", "bool"):
        raise DefinitionError("features.outcome_first", name=name, column=settings.column, type=value)
    kind: Kind = "binary" if settings.agg in ("any", "none") else "number"
    if settings.agg == "first" and value not in NUMBERS:
        kind = "class"
    if not settings.bands:
        return kind, ()
    bands = tuple(map(float, settings.bands))
    if kind != "number" or list(bands) != sorted(set(bands)) or not all(map(math.isfinite, bands)):
        raise DefinitionError("features.outcome_bands", name=name, bands=", ".join(f"{edge:g}" for edge in bands))
    return "class", bands


def schedule(
    outcomes: list[Outcome], settings: Settings, first: date, end: date
) -> tuple[dict[str, Schedule], list[str]]:
    """The dates of each outcome, and the names of those the data is too short for.

    The training dates of outcomes with one step are shared: those of the longest horizon serve the shorter ones too.
    """
    found: dict[str, Schedule] = {}
    short: list[str] = []
    grids: dict[int, list[date]] = {}
    for outcome in sorted(outcomes, key=lambda outcome: -outcome.days):
        if outcome.attribute:
            found[outcome.name] = Schedule({end: "train"}, 0)
            continue
        made = _dates(outcome.days, settings.train, first, end)
        if made is None:
            short.append(outcome.name)
            continue
        step, test, valid, train = made
        shared = grids.setdefault(step, train)
        usable = [day for day in shared if day <= train[0]]
        if len(usable) >= max(min(3, len(train)), len(train) - 1):
            train = usable[: len(train)]
        splits: dict[date, Split] = dict.fromkeys(train, "train")
        found[outcome.name] = Schedule(splits | {valid: "valid", test: "test"}, step)
    return found, short


def _dates(days: int, settings: TrainSettings, first: date, end: date) -> tuple[int, date, date, list[date]] | None:
    """(step, test date, validation date, training dates, newest first), or None where the data is too short."""
    span = (end - first).days
    history = min(HISTORY_DAYS, span // 4)
    best: tuple[int, date, date, list[date]] | None = None
    step = settings.as_of_step_days
    while True:
        apart, grid = max(days, step), min(step, GRID_DAYS)
        test = _on_grid(end - timedelta(days=days), grid)
        valid = _on_grid(test - timedelta(days=apart), grid)
        newest = _on_grid(valid - timedelta(days=apart), step)
        # as many dates as without the grid, the oldest with less history where that is needed
        wanted = ((span - days - 2 * apart) - history) // step + 1
        room = ((newest - first).days - history // 2) // step + 1
        train = [newest - timedelta(days=k * step) for k in range(min(settings.as_of_count, wanted, room))]
        if train and (best is None or len(train) > len(best[3])):
            best = (step, test, valid, train)
        if len(train) >= min(3, settings.as_of_count) or step == 1:
            return best
        step = max(1, step // 2)


def _on_grid(day: date, step: int) -> date:
    """The newest day not after `day` that is whole steps from the epoch."""
    return day - timedelta(days=(day - EPOCH).days % step)


def labels_sql(outcome: Outcome, found: Schedule, *, training: str, events: str, users: str) -> str:
    """user_id, as_of, outcome, split, number, label: one row a user and date of `training` that the outcome speaks of."""
    if outcome.attribute:
        return _attribute_sql(outcome, training=training, users=users, end=next(iter(found.dates)))
    return "\nUNION ALL\n".join(
        _date_sql(outcome, day, split, training, events) for day, split in sorted(found.dates.items())
    )


def _date_sql(outcome: Outcome, day: date, split: Split, training: str, events: str) -> str:
    until = day + timedelta(days=outcome.days)
    kept = f" AND {outcome.where.sql}" if outcome.where.sql else ""
    made, joined = "count(*)", "LEFT JOIN"
    if outcome.agg == "sum":
        made = f"sum({outcome.value.sql})"
    if outcome.agg == "first":
        made = f"arg_min({outcome.value.sql}, (ts, event_id)) FILTER (WHERE ({outcome.value.sql}) IS NOT NULL)"
        joined = "JOIN"
    number = {
        "any": "(coalesce(n, 0) > 0)::INTEGER::DOUBLE",
        "none": "(coalesce(n, 0) = 0)::INTEGER::DOUBLE",
        "first": "n",
    }.get(outcome.agg, "coalesce(n, 0)::DOUBLE")
    number, label = (f"{number}::DOUBLE", "NULL::VARCHAR")
    if outcome.kind == "class":
        number, label = "NULL::DOUBLE", _banded(outcome, number) if outcome.bands else "n::VARCHAR"
    known = "n IS NOT NULL" if outcome.agg == "first" else "true"
    among = f" AND {outcome.among.sql}" if outcome.among.sql else ""
    return f"""
        SELECT t.user_id, t.as_of, '{outcome.name}' AS outcome, '{split}' AS split, {number} AS number, {label} AS label
        FROM (SELECT user_id, as_of FROM {training} WHERE as_of = DATE '{day}'{among}) AS t
        {joined} (SELECT user_id, {made} AS n FROM {events} WHERE day >= DATE '{day}' AND day < DATE '{until}'{kept} GROUP BY user_id) AS a
        USING (user_id) WHERE {known}"""


def _banded(outcome: Outcome, number: str) -> str:
    """SQL of the name of the band that a number lies in."""
    *names, last = outcome.band_names
    arms = " ".join(f"WHEN {number} < {edge!r} THEN '{name}'" for edge, name in zip(outcome.bands, names, strict=True))
    return f"CASE {arms} ELSE '{last}' END"


def _attribute_sql(outcome: Outcome, *, training: str, users: str, end: date) -> str:
    """Users who declared the attribute themselves (what cleaning filled in does not count), split 60/20/20 by hash."""
    if outcome.attribute in ATTRIBUTES:
        value = f"CASE WHEN NOT list_contains(filled, '{outcome.attribute}') THEN {outcome.attribute} END"
    else:
        path = outcome.attribute.replace('"', "").replace("'", "''")
        value = f"""json_extract_string(extra, '$."{path}"')"""
    chosen = ("value::DOUBLE", "NULL::VARCHAR") if outcome.kind == "number" else ("NULL::DOUBLE", "value::VARCHAR")
    among = f" AND {outcome.among.sql}" if outcome.among.sql else ""
    return f"""
        SELECT t.user_id, t.as_of, '{outcome.name}' AS outcome,
            CASE WHEN dice % 100 < 60 THEN 'train' WHEN dice % 100 < 80 THEN 'valid' ELSE 'test' END AS split,
            {chosen[0]} AS number, {chosen[1]} AS label
        FROM (SELECT user_id, as_of FROM {training} WHERE as_of = DATE '{end}'{among}) AS t
        JOIN (SELECT user_id, dice, {value} AS value FROM {users}) AS u USING (user_id)
        WHERE value IS NOT NULL AND trim(value::VARCHAR) <> ''"""
