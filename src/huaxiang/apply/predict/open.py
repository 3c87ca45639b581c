"""The way in: what a shop can foresee, as `Shop.predict` opens it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from huaxiang.engine import Lake
from huaxiang.engine.lake import write_atomically
from huaxiang.settings import Settings

if TYPE_CHECKING:
    from huaxiang.apply.predict.intent import Intent, RunningIntent
    from huaxiang.apply.predict.what_if import Moved

VALUE, INTENT = "clv.json", "intent.json"
SEED = 20260101


@dataclass(frozen=True)
class Predict:
    """Forecasts of one shop. folder: of the shop; find: the pseudonym of the customer that a typed id names."""

    lake: Lake
    settings: Settings
    folder: Path
    find: Callable[[str], str]

    def value(
        self,
        *,
        days: int = 90,
        discount: float = 0.1,
        seed: int = SEED,
        as_of: date | None = None,
        without: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """What every customer will buy and bring in the next `days`: writes the table `clv` and gives the report, hold-out included.

        discount: what a year takes off money, .1 for a tenth; as_of: stand on this day (default: the last build's);
        without: orders that do not count, by their id (default: those the guard found fake); the report says how many lines that were
        raises: ModelError where the history is too short or too few customers came again
        """
        from huaxiang.apply.predict.value import write_value

        with self.lake.step("clv") as step:
            report = write_value(step, days=days, discount=discount, seed=seed, as_of=as_of, without=without)
        self._save(VALUE, report)
        return report

    def customer(self, user: str) -> dict[str, Any] | None:
        """A customer's row of the last `value` (None: they never bought); user: the shop's own id or the pseudonym."""
        from huaxiang.apply.predict.value import read_customer

        return read_customer(self.lake, self.find(user))

    def learn_intent(self, *, seed: int = SEED) -> dict[str, Any]:
        """Learns from the shop's sessions how likely one that is running ends in a purchase; gives the report of its exam.

        raises: ModelError where sessions show nothing but purchases, or too few of either kind
        """
        from huaxiang.apply.predict.intent import train_intent

        intent, report = train_intent(self.lake, seed=seed)
        place = self.folder / "models" / "intent.json"
        place.parent.mkdir(exist_ok=True)
        write_atomically(place, intent.to_json())
        self._save(INTENT, report)
        return report

    def intent(self) -> Intent:
        """The model of the last `learn_intent`: `begin()` a session, `add` its events, ask for the chance."""
        from huaxiang.apply.predict.intent import load_intent

        return load_intent(self.folder / "models" / "intent.json", self.settings.shop.timezone)

    def begin(self, user: str, now: datetime) -> RunningIntent:
        """A session that this customer begins `now` (the shop's own time where it carries no zone), with what they did before it.

        user: the shop's own id or the pseudonym; for somebody unknown use `intent().begin()`
        """
        from huaxiang.apply.predict.intent import read_before

        at = now if now.tzinfo is not None else now.replace(tzinfo=ZoneInfo(self.settings.shop.timezone))
        return self.intent().begin(read_before(self.lake, self.find(user), at.astimezone(UTC).replace(tzinfo=None)))

    def what_if(self, user: str, outcome: str, changes: Mapping[str, float | None]) -> Moved:
        """How the prediction of an outcome moves where a customer's features are changed (None: unknown).

        user: the shop's own id or the pseudonym
        raises: ModelError for an unknown outcome or feature, UnknownUserError
        """
        from huaxiang.apply.predict.what_if import what_if

        return what_if(self.lake, self.settings, self.folder / "models", self.find(user), outcome, changes)

    def reports(self) -> dict[str, dict[str, Any]]:
        """What the last `value` and `learn_intent` reported, by "clv" and "intent" (those that ran)."""
        found = {name.removesuffix(".json"): self.folder / "reports" / name for name in (VALUE, INTENT)}
        return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in found.items() if path.exists()}

    def _save(self, name: str, report: Mapping[str, Any]) -> None:
        (self.folder / "reports").mkdir(exist_ok=True)
        write_atomically(
            self.folder / "reports" / name, json.dumps(report, ensure_ascii=False, indent=1, allow_nan=False)
        )
