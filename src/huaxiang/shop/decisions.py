"""What one does with a shop: its applications, what its models foresee, and what was decided last."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from huaxiang.settings import Settings, add_entry, drop_entry
from huaxiang.shop.opened import Opened

if TYPE_CHECKING:
    import pyarrow as pa

    from huaxiang.apply.guard.guard import Guard
    from huaxiang.apply.market.campaign_read import Reading
    from huaxiang.apply.market.campaigns import Campaigns
    from huaxiang.apply.market.market import Market
    from huaxiang.apply.predict.open import Predict
    from huaxiang.apply.recommend.recommend import Recommend
    from huaxiang.models.next_item.compare import Leaderboard
    from huaxiang.models.vector_table import VectorRow
    from huaxiang.models.why import Foreseen


BOARD = "leaderboard.json"
DECIDED = ("clv", "intent", "uplift", "campaigns", "guard")  # results kept in reports/


class Decisions(Opened):
    """The applications of a shop."""

    _recommend: Recommend | None = None  # with what it holds at hand for the next question

    @property
    def recommend(self) -> Recommend:
        """What to show whom: `train()` learns and lists for everybody, `show(user)` answers for one, at any place of the shop."""
        from huaxiang.apply.recommend.recommend import Recommend

        def naming(ids: pa.Array) -> pa.Array:
            return self.pseudonyms().of_array(ids)

        if self._recommend is None or self._recommend.settings is not self.settings:
            self._recommend = Recommend(self.lake, self.settings, self.folder / "models", self.progress, naming=naming)
        return self._recommend

    @property
    def market(self) -> Market:
        """Audiences: previewed, saved, found anew, uploaded, look-alikes.

        shop.market.save("leaving_gold", "churn_30d > 0.6 and value_tier == 'gold'")
        """
        from huaxiang.apply.market.market import Market

        def declare(name: str, entry: Mapping[str, Any] | None) -> Settings:
            place = ("audiences", name)
            self._write_settings(
                lambda text: drop_entry(text, place) if entry is None else add_entry(text, place, entry)
            )
            return self.settings

        return Market(self.lake, self.settings, declare, lambda user: self.pseudonyms().of(user))

    def uplift(self, *, repeats: int = 2, learners: Sequence[str] = ()) -> dict[str, Any]:
        """Whom a message moves, from campaigns with a hold-out; without one, who redeems. Ranks every customer (`market.uplift`).

        What was learned is kept, and asked again without learning while its tests and settings are the same (`reused` names the offers).

        learners: to choose among, by name (default: all; uplift_learners.py)
        """
        from huaxiang.apply.market.uplift_shop import find_uplift

        home = self.folder / "models" / "uplift"
        found = find_uplift(
            self.lake,
            seed=self.settings.train.seed,
            repeats=repeats,
            learners=learners,
            home=home,
            progress=self.progress,
        )
        self._save("uplift.json", json.dumps(found, ensure_ascii=False, indent=1))
        return found

    def score_uplift(self, users: Sequence[str], *, offer: str = "") -> list[dict[str, Any]]:
        """How far a message ("": any, or an offer) moves each of `users`, by what the last `uplift` kept; nothing is learned. Of the last
        build's customers, those who came since that `uplift` too: user_id, offer, score, likely, basis, as_of, model, is_null (the
        ranking cannot be told from a random order), and the average of all: effect, effect_interval.

        users: by the shop's own ids or pseudonyms
        raises: UnknownUserError; ShopError where nothing was learned of the offer; ModelError where what was learned is gone
        """
        from huaxiang.apply.market.uplift_shop import score_customers
        from huaxiang.profile import find_user

        asked = [find_user(self.lake, self.pseudonyms(), user, among="features") for user in users]
        return score_customers(self.lake, self.folder / "models" / "uplift", asked, offer)

    @property
    def campaigns(self) -> Campaigns:
        """Plan, export, send and read campaigns with a hold-out."""
        from huaxiang.apply.market.campaigns import Campaigns

        return Campaigns(self.lake, self.settings, self.folder, self.pseudonyms(), self.vault())

    def read_campaign(self, name: str, *, at: datetime, days: int | None = None, metric: str | None = None) -> Reading:
        """What a campaign did, as assigned; kept for the report."""
        found = self.campaigns.read(name, at=at, days=days, metric=metric)
        path = self.folder / "reports" / "campaigns.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self._save(path.name, json.dumps(kept | {name: found.to_json()}, ensure_ascii=False, indent=1))
        return found

    @property
    def predict(self) -> Predict:
        """What the shop can foresee of customers: lifetime value, next purchase, a session's intent, what if."""
        from huaxiang.apply.predict.open import Predict
        from huaxiang.profile import find_user

        def find(user: str) -> str:
            return find_user(self.lake, self.pseudonyms(), user, among="features")

        return Predict(self.lake, self.settings, self.folder, find)

    @property
    def guard(self) -> Guard:
        """The guard: named risks of customers and orders, rules, rings and the review queue.

        found = shop.guard.score()      # found.to_dict(); tables guard.scores, guard.rings, guard.fake_orders, guard.queue
        """
        from huaxiang.apply.guard.guard import Guard

        return Guard(self.lake, self.settings, progress=self.progress, save=lambda text: self._save("guard.json", text))

    def compare(self, *, seeds: int = 1, only: Sequence[str] = ()) -> Leaderboard:
        """Put every next-item model through the exam, on both splits; the leaderboard stands in the next report."""
        from huaxiang.models.next_item.compare import compare_next

        first = self.settings.train.seed
        content = self.settings.behaviour.content
        found = compare_next(
            self.lake, seeds=range(first, first + seeds), only=only, content=content, progress=self.progress
        )
        self._save(BOARD, found.to_json())
        return found

    def leaderboard(self) -> Leaderboard | None:
        """What the last `compare` found (None: there was none)."""
        path = self.folder / "reports" / BOARD
        if not path.exists():
            return None
        from huaxiang.models.next_item.compare import Leaderboard

        return Leaderboard.from_json(path.read_text(encoding="utf-8"))

    def vector_table(self) -> list[VectorRow]:
        """What the behaviour model's vector knows of each outcome, beside the features and with them, by the last training."""
        from huaxiang.models.vector_table import vector_table

        return vector_table(self.cards())

    def foresee(self, user: str, *, count: int = 5) -> list[Foreseen]:
        """What a customer will likely take next, by the model that the last training chose, and the events that speak most for each:
        taking one away lowers the item's score.

        user: the shop's own id or the pseudonym
        raises: ModelError where there is no behaviour model
        """
        from huaxiang.models.pretrain import check_version
        from huaxiang.models.why import foresee
        from huaxiang.profile import find_user

        check_version(self.lake.note("train"))
        found = find_user(self.lake, self.pseudonyms(), user)
        return foresee(self.lake, self.folder / "models", found, count=count)

    def _foreseen(self, users: Sequence[str]) -> dict[str, list[Foreseen]]:
        """What each of `users` will likely take next ({}: there is no behaviour model)."""
        from huaxiang.models.why import can_foresee, foresee

        if not can_foresee(self.lake):
            return {}
        return {user: foresee(self.lake, self.folder / "models", user) for user in users}

    def decided(self) -> dict[str, Any]:
        """The last result of each application that has one, as the report shows it, and what is read from the profiles as they are."""
        return self._kept() | {name: one for name, one in self._grids().items() if one}

    def _kept(self) -> dict[str, Any]:
        """What the applications left: of it, and of the profiles, the report is made."""
        found: dict[str, Any] = {
            "recommend": self.lake.note("recommend"),
            "segments": self.lake.note("segments").get("found"),
            "associations": self.lake.note("rules"),
            "audiences": [asdict(one) for one in self.market.audiences()] if self.settings.audiences else None,
        }
        for name in DECIDED:
            path = self.folder / "reports" / f"{name}.json"
            found[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        return {name: one for name, one in found.items() if one}

    def _grids(self) -> dict[str, Any]:
        """What is read from the profiles as they are: who moved where, recency by frequency, what goes with what."""
        if self.settings.shop.engine == "spark" or not self.lake.has("profiles"):
            return {}
        flow = self.market.flow()
        pairs = self.market.rules() if self.lake.has("ready.events") else []
        held = [one for one in self.lake.note("rules").values() if isinstance(one, dict) and one.get("rules")]
        rules = {"pairs": pairs, "held": held} if pairs or held else None
        return {"flow": flow if flow["moves"] else None, "rfm": self.market.rfm(), "rules": rules}
