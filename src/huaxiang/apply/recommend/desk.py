"""What was learned, ready to list for any customers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from huaxiang.apply.recommend.known import PROFILE
from huaxiang.apply.recommend.learn import Order
from huaxiang.apply.recommend.past import Floats, Past, Shelf
from huaxiang.apply.recommend.rules import Lists, allowed, arrange
from huaxiang.apply.recommend.sources import Learned, candidates, meet
from huaxiang.apply.recommend.table import Candidates, table_of
from huaxiang.settings.recommend import RecommendSettings


@dataclass(frozen=True)
class Desk:
    """What was learned: ready to list. orders: "any", and "new" for what a customer has not bought; seldom_again: whether so few purchases
    repeat that `owned = "auto"` leaves out what was bought."""

    shelf: Shelf
    learned: Learned
    orders: dict[str, Order]
    seldom_again: bool
    version: str
    as_of: str

    @property
    def profiled(self) -> bool:
        """Whether a ranker reads what the profile says of customers."""
        return any(name.startswith(PROFILE) for one in self.orders.values() for name in one.ranker.columns)

    def drops(self, rules: RecommendSettings) -> bool:
        """Whether what a customer bought is left out, by the rules of now."""
        return rules.owned == "drop" or (rules.owned == "auto" and self.seldom_again)

    def lists(
        self, past: Past, rules: RecommendSettings, *, new: bool, count: int, seed: int | Sequence[int]
    ) -> tuple[Candidates, Floats, Lists]:
        """Candidates, scores and lists of all customers of `past`."""
        met = meet(past, self.shelf, self.learned.day)
        scores = candidates(self.learned, past, self.shelf, met)
        table = table_of(scores, self.learned, past, self.shelf, met=met)
        owned = met.pairs.user * len(self.shelf) + met.pairs.item
        table = table.rows(allowed(table, self.shelf, rules, owned=owned, drop_owned=new))
        score = self.orders["new" if new else "any"].score(table)
        return table, score, arrange(table, score, self.shelf, rules, count=count, seed=seed)
