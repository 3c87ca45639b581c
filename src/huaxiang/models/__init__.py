"""The models room: the only one that knows the learners. Cheap to import; the learners load when first used.

metrics.py, curves.py   what is measured            exam.py      folds, spread, intervals, the choice of settings
zoo/                    the models                  calibrate.py probabilities that mean what they say
histories.py            what customers did before a date, for models that read events
outcomes.py             declared outcomes → predictions and score cards (journey step "train")
table.py                any plain table → a score card (`huaxiang table`)
card.py, show.py        the score card, and how it looks on a terminal
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huaxiang.models.card import ScoreCard
    from huaxiang.models.outcomes import train_outcomes
    from huaxiang.models.show import show_card, show_table
    from huaxiang.models.table import TableReport, run_table

# Before a learner loads its threads: those that wait must not spin. Where anything else runs on the machine, spinning made small
# operations of PyTorch 20 times slower (0.25 → 5.2 ms, two threads on two busy cores).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__all__ = ["ScoreCard", "TableReport", "run_table", "show_card", "show_table", "train_outcomes"]

_HOMES = {
    "ScoreCard": "card",
    "TableReport": "table",
    "run_table": "table",
    "show_card": "show",
    "show_table": "show",
    "train_outcomes": "outcomes",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"huaxiang.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'huaxiang.models' has no attribute {name!r}")
