"""The marketer's desk: what `Shop.market` gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from huaxiang.apply.market.alike import Alike, look_alikes
from huaxiang.apply.market.associations import LONGEST, Over, find_associations
from huaxiang.apply.market.audiences import (
    STEP,
    Audience,
    Preview,
    audiences,
    member_ids,
    overlaps,
    preview,
    put_list,
    refresh,
    versions_of,
)
from huaxiang.apply.market.grids import BEST, LEAST, lifecycle_flow, rfm_grid, rules
from huaxiang.apply.market.language import Reader, no_audience
from huaxiang.apply.market.schedule import Scheduled, read_every, schedules
from huaxiang.apply.market.segments import TABLE as SEGMENTS
from huaxiang.apply.market.segments import Segments, find_segments
from huaxiang.apply.market.values import Unheld
from huaxiang.engine import Lake
from huaxiang.errors import DefinitionError
from huaxiang.features.filters import named_by
from huaxiang.settings import Settings
from huaxiang.settings.every import AFTER_RUN, BY_HAND

RULES = "rules"
Declare = Callable[
    [str, Mapping[str, Any] | None], Settings
]  # writes (or, given None, takes out) an entry of [audiences]


class Market:
    """Audiences of one shop. declare: keeps an audience in the shop's settings; pseudonym: of a raw user id.

    shop.market.preview("churn_30d > 0.6 and value_tier == 'gold'").size
    shop.market.save("leaving_gold", "churn_30d > 0.6 and value_tier == 'gold'")
    """

    def __init__(self, lake: Lake, settings: Settings, declare: Declare, pseudonym: Callable[[str], str]) -> None:
        self.lake = lake
        self.settings = settings
        self._declare = declare
        self._pseudonym = pseudonym

    @property
    def conditions(self) -> dict[str, str]:
        return {name: one.when for name, one in self.settings.audiences.items()}

    def preview(self, when: str, *, sample: int = 5) -> Preview:
        """Size, composition and a few members, without saving anything; raises DefinitionError with the mend."""
        return preview(self._reader(), when, sample=sample)

    def unheld(self, when: str) -> tuple[Unheld, ...]:
        """The values that a condition compares traits with and that no customer has: misspelt, or rare."""
        return self._reader().read(when).unheld

    def _reader(self, conditions: Mapping[str, str] | None = None) -> Reader:
        return Reader(self.lake, self.conditions if conditions is None else conditions, self.settings.profile)

    def save(
        self,
        name: str,
        when: str,
        *,
        meaning: str | None = None,
        every: str | None = None,
        now: datetime | None = None,
    ) -> Audience:
        """Keeps an audience under `name` in huaxiang.toml, and finds its members; a changed `when` is a new version.

        meaning: what it is for (None: as it was); every: when it is found anew, "after_run", "by_hand" or an interval such as "6h",
        "1d" (None: as it was); raises DefinitionError, also for a schedule that is none
        """
        if not name.isidentifier():
            raise DefinitionError("market.audience_name", name=name)
        self._reader(self.conditions | {name: when}).read(when, name=name, within=(name,))
        asked = {} if meaning is None else {"meaning": meaning}
        if every is not None:
            asked["every"] = read_every(every)
        before = self.settings.audiences.get(name)
        kept = {} if before is None else before.model_dump(exclude={"when"}, exclude_defaults=True)
        self.settings = self._declare(name, {"when": when} | kept | asked)
        at = _utc(now)
        changed = [one.name for one in self.schedule(now=at) if one.is_changed and one.every != BY_HAND]  # built on it
        return next(one for one in self.refresh([name, *changed], now=at) if one.name == name)

    def remove(self, name: str) -> None:
        """Takes an audience out of huaxiang.toml; its members leave it, its history stays."""
        if name not in self.settings.audiences:
            raise no_audience("remove", name, self.conditions)
        on_it = [
            other for other, text in self.conditions.items() if other != name and name in named_by(text, "in_audience")
        ]
        if on_it:
            raise DefinitionError("market.built_on", name=name, others=", ".join(on_it))
        self.settings = self._declare(name, None)
        self.refresh(())

    def refresh(self, names: Collection[str] | None = None, *, now: datetime | None = None) -> list[Audience]:
        """Finds the members of these audiences (None: of all) anew from the present profiles; who entered and left is kept. Gives all."""
        for name in names or ():
            if name not in self.settings.audiences:
                raise no_audience("refresh", name, self.conditions)
        with self.lake.step(STEP) as step:
            return refresh(step, self.settings.audiences, self.settings.profile, now=_utc(now), only=names)

    def refresh_due(self, *, now: datetime | None = None, ran: bool = False) -> list[Audience]:
        """Finds anew the audiences whose schedule says so at `now` (UTC), and gives these.

        ran: whether a run has just ended, for which those that are found after each run wait
        """
        at = _utc(now)
        due = [one.name for one in self.schedule(now=at) if one.is_due or (ran and one.every == AFTER_RUN)]
        return [one for one in self.refresh(due, now=at) if one.name in due] if due or ran else []

    def schedule(self, *, now: datetime | None = None) -> list[Scheduled]:
        """Of every audience: when it is found anew, when it was last, and when it is due next."""
        return schedules(self.lake, self.settings.audiences, versions_of(self.settings.audiences), now=_utc(now))

    def audiences(self) -> list[Audience]:
        return audiences(self.lake, self.settings.audiences)

    def members(self, name: str) -> list[str]:
        """The customers (pseudonyms) an audience holds for now."""
        return member_ids(self._reader(), name)

    def overlaps(self) -> list[dict[str, Any]]:
        return overlaps(self.lake)

    def upload(self, name: str, users: Iterable[str]) -> tuple[int, int]:
        """Keeps a static list of customers by the shop's own ids (or pseudonyms), for on_list; gives how many were found, and how many
        are no customers of this shop."""
        known = {str(user) for user in users if str(user)}
        profiles = self.lake.engine.sql(self.lake.table("profiles"))
        given = {user: self._pseudonym(user) for user in known}
        here = set(self.lake.engine.arrow(f"SELECT user_id FROM ({profiles})").column("user_id").to_pylist())
        with self.lake.step(STEP) as step:
            found, _ = put_list(step, name, (user if user in here else own for user, own in given.items()))
        return found, len(known) - found

    def segments(self, *, seed: int | None = None) -> Segments:
        """Groups of customers found anew, each told by what sets it apart; writes the table `segments`."""
        chance = self.settings.train.seed if seed is None else seed
        as_of = str(self.lake.note("build").get("as_of", ""))[:10]
        with self.lake.step(SEGMENTS) as step:
            found = find_segments(step, seed=chance, as_of=as_of)
            step.note["found"] = found.to_dict()
        return found

    def rfm(self) -> list[dict[str, Any]]:
        """Customers, their spend and its share by fifths of recency and frequency."""
        return rfm_grid(self.lake)

    def flow(self) -> dict[str, Any]:
        """Who moved between lifecycle stages in about four weeks."""
        return lifecycle_flow(self.lake, self.settings)

    def rules(self, *, days: int = 180, least: int = LEAST, best: int = BEST) -> list[dict[str, Any]]:
        """Which categories are bought by the same customers, more than chance has it: lift with its 95 % interval."""
        return rules(self.lake, days=days, least=least, best=best)

    def associations(
        self, over: Over, *, days: int = 180, longest: int = LONGEST, least: int = LEAST, best: int = BEST
    ) -> dict[str, Any]:
        """Rules of up to four things, found in one half of the customers and held on the other: over "orders", "customers" (all that
        each bought) or "traits". The report shows the last of each.

        longest: things in a rule; least: orders or customers it rests on in either half; needs mlxtend (pip install 'huaxiang[rules]')
        """
        found = find_associations(self.lake, over, days=days, longest=longest, least=least, best=best)
        before = self.lake.note(RULES)
        with self.lake.step(RULES) as step:
            step.note |= before | {over: found}
        return found

    def alike(self, name: str, *, count: int = 1_000, seed: int | None = None) -> Alike:
        """The customers most like an audience's members and not among them, and how well that finds members held out."""
        chance = self.settings.train.seed if seed is None else seed
        return look_alikes(self.lake, self.members(name), count=count, seed=chance)


def _utc(now: datetime | None) -> datetime:
    """A moment as UTC without a zone (None: this one)."""
    at = datetime.now(UTC) if now is None else now
    return at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
