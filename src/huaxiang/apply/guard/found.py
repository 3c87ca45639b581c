"""What the guard found, as it is shown, and kept in reports/guard.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from huaxiang.apply.guard.cases import Case

SHOWN = 50  # cases kept in the report


@dataclass(frozen=True)
class RingRow:
    """kinds: keys of each kind the ring shares."""

    ring: int
    users: int
    density: float
    kinds: dict[str, int]


@dataclass(frozen=True)
class GuardReport:
    """risks: name -> above (customers at review_at or more), some (above 0), most (largest score); actions: name -> customers;
    rules: name -> matched, decided; fake_orders: orders, users, amount; missing: signals this shop records nothing for; learned: see learn.py;
    days: of the window; written: whether the lake was renewed by it (not for a day other than the build's)."""

    as_of: date
    users: int
    orders: int
    risks: dict[str, dict[str, float]]
    actions: dict[str, int]
    rules: dict[str, dict[str, int]]
    fake_orders: dict[str, float]
    ring_count: int
    rings: tuple[RingRow, ...]
    ties: int
    missing: tuple[str, ...]
    cases: tuple[Case, ...]
    decided: int
    learned: dict[str, Any]
    definition: str
    model: str | None
    days: int
    written: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of the cases the SHOWN riskiest, without what a model learns from."""
        made = asdict(self) | {"open_cases": len(self.cases), "cases": [_shown(case) for case in self.cases[:SHOWN]]}
        return json.loads(json.dumps(made, default=str))

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)


def _shown(case: Case) -> dict[str, Any]:
    return {name: value for name, value in asdict(case).items() if name != "known"}


@dataclass(frozen=True)
class Trial:
    """One week's end. orders: of the customers matched; before, after: action -> customers; moved: whose action changes;
    fraud, fine: verdicts among the matched."""

    as_of: date
    matched: int
    orders: float
    before: dict[str, int]
    after: dict[str, int]
    moved: int
    fraud: int
    fine: int


@dataclass(frozen=True)
class DryRun:
    name: str
    when: str
    action: str
    trials: tuple[Trial, ...]

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self), default=str))


def case_dict(case: Case) -> dict[str, Any]:
    """A case as JSON shows it."""
    return {name: value.isoformat() if isinstance(value, date | datetime) else value for name, value in _shown(case).items()}  # fmt: skip
