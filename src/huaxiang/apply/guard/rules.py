"""What is done about whom: the shop's own rules in their order, then the risks. Conditions are checked and read into a tree, never evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from huaxiang.apply.guard.assess import KNOWN, Assessment
from huaxiang.apply.guard.risks import RISKS
from huaxiang.engine import Engine
from huaxiang.features.filters import compile_filter
from huaxiang.models.metrics import Floats
from huaxiang.models.zoo import Matrix
from huaxiang.settings import RuleSettings

ACTIONS = ("allow", "review", "block")
BY_RISK, BY_LEARNED, BY_VERDICT = -1, -2, -3  # what decided, where it is no rule
LEARNED_AT = 0.5


@dataclass(frozen=True)
class Decisions:
    """action: (U,) places in ACTIONS; by: (U,) place of the rule that decided, or BY_*; matched: (U, rules) whether each rule holds."""

    action: NDArray[np.int64]
    by: NDArray[np.int64]
    matched: NDArray[np.bool_]

    def count(self) -> dict[str, int]:
        return {name: int(np.sum(self.action == at)) for at, name in enumerate(ACTIONS)}


def check_rules(rules: Mapping[str, RuleSettings]) -> dict[str, str]:
    """SQL of each rule's condition; raises DefinitionError naming the rule that is not well written."""
    columns = dict.fromkeys(KNOWN, "float")
    return {name: compile_filter(rule.when, columns, name=f"guard.rules.{name}").sql or "true" for name, rule in rules.items()}  # fmt: skip


def match_rules(engine: Engine, known: Matrix, rules: Mapping[str, RuleSettings]) -> NDArray[np.bool_]:
    """(U, rules) whether each holds; a comparison with what cannot be known does not."""
    if not rules:
        return np.zeros((len(known), 0), dtype=bool)
    columns = {name: pa.array(column, from_pandas=True) for name, column in zip(known.columns, known.values.T, strict=True)}  # fmt: skip
    loaded = engine.load(pa.table({"place": np.arange(len(known)), **columns}))
    held = ", ".join(f"coalesce({sql}, false) AS r{at}" for at, sql in enumerate(check_rules(rules).values()))
    found = engine.arrow(f"SELECT {held} FROM {loaded.get_name()} ORDER BY place")
    engine.drop(loaded)
    return np.column_stack([column.to_numpy() for column in found.columns]).astype(bool)


def decide(
    engine: Engine,
    found: Assessment,
    rules: Mapping[str, RuleSettings],
    *,
    review_at: float,
    learned: Floats | None = None,
) -> Decisions:
    """The first rule that holds decides; else a risk of `review_at`, or a learned chance of one half, asks for a review; else all is allowed."""
    matched = match_rules(engine, found.known(), rules)
    action, by = np.zeros(len(found), dtype=np.int64), np.full(len(found), BY_RISK)
    if learned is not None:
        action[learned >= LEARNED_AT], by[learned >= LEARNED_AT] = 1, BY_LEARNED
    risky = found.risks.scores.max(axis=1, initial=0.0) >= review_at
    action[risky], by[risky] = 1, BY_RISK
    for at, rule in reversed(list(enumerate(rules.values()))):
        action[matched[:, at]], by[matched[:, at]] = ACTIONS.index(rule.action), at
    return Decisions(action, by, matched)


def main_risk(found: Assessment) -> NDArray[np.int64]:
    """(U,) place in RISKS of each customer's largest risk."""
    assert found.risks.scores.shape[1] == len(RISKS)
    return found.risks.scores.argmax(axis=1)
