"""Campaigns of a shop: planned with a hold-out, sent, and read.

    shop.campaigns.plan("spring", channel="email", holdout=0.2)     # who gets it, who is held out, who may not be reached and why
    shop.campaigns.export("spring", Path("spring.csv"))             # or .send("spring", url, secret)
    shop.campaigns.read("spring", days=14)                          # treated minus hold-out, as assigned

A plan is one step of the lake: its assignments are rows of `market.assigned`, its terms the step's note. It is never changed, only read; one
that never left the house may be removed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from huaxiang.apply.market.audiences import member_ids, version_of
from huaxiang.apply.market.campaign_read import Reading, check_metric, read_campaign
from huaxiang.apply.market.campaign_target import Spend, find_asked
from huaxiang.apply.market.campaign_terms import Campaign, planned
from huaxiang.apply.market.consent import (
    ASSIGNED,
    REASONS,
    judge_customers,
    known_channels,
    known_span,
    next_open,
    profiles_at,
)
from huaxiang.apply.market.holdout import place_sql
from huaxiang.apply.market.language import Reader
from huaxiang.apply.market.lists import read_list
from huaxiang.apply.market.offers import (
    OFFERED,
    Offer,
    as_controls,
    check_offers,
    count_offers,
    deal_offers,
)
from huaxiang.apply.market.samples import detectable_effect
from huaxiang.engine import Engine, Lake
from huaxiang.errors import DefinitionError, ShopError
from huaxiang.settings import Settings
from huaxiang.trust import Pseudonyms, Vault
from huaxiang.words import LANGS, Words

if TYPE_CHECKING:
    from huaxiang.apply.market.campaign_adopt import Drawn
    from huaxiang.apply.market.campaign_send import Sent

NEAR = 0.75  # emial is email by 0.8, phone no mail
_NAME = re.compile(r"[A-Za-z0-9一-鿿][\w.\-]{0,59}")


@dataclass
class Campaigns:
    """The campaigns of one shop. folder: the shop's; pseudonyms, vault: to take ids in and give them out."""

    lake: Lake
    settings: Settings
    folder: Path
    pseudonyms: Pseudonyms
    vault: Vault

    def names(self) -> list[str]:
        return list(planned(self.lake))

    def get(self, name: str) -> Campaign:
        """The campaign's terms; raises ShopError for one that was not planned."""
        note = self.lake.note(f"campaign.{name}")
        if "campaign" not in note:
            raise ShopError("market.no_campaign", name=name, have=", ".join(self.names()) or "-")
        return Campaign.from_json(note["campaign"])

    def plan(
        self,
        name: str,
        *,
        channel: str,
        at: datetime,
        holdout: float = 0.1,
        users: Sequence[str] | None = None,
        audience: str = "",
        most: int | None = None,
        spend: Spend | None = None,
        offers: Sequence[Offer] = (),
        per_user: int = 1,
        metric: str = "purchase",
        days: int = 14,
    ) -> Campaign:
        """Decide who gets the campaign and who is held out; gives its terms.

        at: now, UTC; users: ids of the shop or pseudonyms (None: every customer); audience: of them its members; most: the `most`
        whom the last `huaxiang uplift` ranks first; spend: those whose expected incremental profit is largest within a budget;
        offers: what customers are given, dealt by chance, or with `spend` where each is expected to earn most, `per_user` a customer
        at most; holdout: share held out, 0 for none (its effect can then not be read)
        raises: DefinitionError for impossible terms, ShopError where the name is taken, nobody may be reached, or `at` lies before
        the records, or before the profiles that would have to choose
        """
        self._check(name, channel, holdout, days, metric)
        self.lake.table("features")  # raises: nothing is built yet
        engine = self.lake.engine
        until = self._check_time(at, by_profiles=bool(audience) or most is not None or spend is not None)
        version = ""
        if audience:
            users, version = self._members(name, audience, users)
        judged = engine.store(self._judge(channel, at))
        check_offers(offers, per_user)
        target = find_asked(
            self.lake,
            self.pseudonyms,
            judged,
            users=users,
            most=most,
            spend=spend,
            offers=offers,
            per_user=per_user,
            seed=self.settings.train.seed,
        )
        asked = target.table
        counts, total = _count_reasons(engine, judged, target.among)
        counts["no_profile"] = total - sum(counts.values())
        chosen = int(engine.value(f"SELECT count(*) FROM {asked}")) if target.has_chosen else counts.get(None, 0)
        counts["not_chosen"] = counts.get(None, 0) - chosen
        if not chosen:
            raise ShopError("market.nobody", channel=channel, why=_reasons(counts))
        salt = f"{self.pseudonyms.secret('campaign')}.{name}"
        place = place_sql(salt, "user_id")
        assigned = (
            f"SELECT '{name}' AS campaign, user_id, CASE WHEN {place} < {holdout!r} THEN 'holdout' ELSE 'treated' END AS arm, "
            f"TIMESTAMP '{at.isoformat(sep=' ')}' AS assigned_at FROM {judged} SEMI JOIN {asked} USING (user_id) WHERE why IS NULL"
        )
        with self.lake.step(f"campaign.{name}") as step:
            kept = engine.store(assigned)
            step.append(ASSIGNED, f"SELECT * FROM {kept}")
            given = target.given
            if offers and not given:
                given = engine.store(deal_offers(f"SELECT user_id FROM {kept}", offers, salt))
            if given:
                paper = f"SELECT user_id, offer FROM {given}"
                shown = paper if target.given else as_controls(f"SELECT * FROM {kept}", paper, offers)
                step.append(
                    OFFERED,
                    f"SELECT '{name}' AS campaign, user_id, offer FROM ({shown}) SEMI JOIN {kept} USING (user_id)",
                )
            arms = {
                row["arm"]: int(row["n"]) for row in engine.rows(f"SELECT arm, count(*) AS n FROM {kept} GROUP BY arm")
            }
            base, sd = self._before(kept, metric, days, min(at, until))
            count = sum(arms.values())
            share = arms.get("holdout", 0) / max(count, 1)
            found = Campaign(
                name=name,
                channel=channel,
                holdout=holdout,
                metric=metric,
                days=days,
                assigned_at=at,
                send_after=next_open(at, self.settings.contact, self.settings.shop.timezone),
                targeted_by="audience" if audience and target.by == "list" else target.by,
                asked=total,
                treated=arms.get("treated", 0),
                held_out=arms.get("holdout", 0),
                left_out={
                    reason: counts.get(reason, 0)
                    for reason in (*REASONS, "no_profile", "not_chosen")
                    if counts.get(reason)
                },
                detectable=detectable_effect(count, sd, holdout=share) if 0 < share < 1 and sd else 0.0,
                base=base,
                profile_as_of=str(self.lake.note("build").get("as_of", "")),
                uplift_version=target.version,
                audience=audience,
                audience_version=version,
                expected=target.expected,
                offers=count_offers(self.lake, f"SELECT * FROM {given}", f"SELECT * FROM {kept}") if given else {},
                policies=tuple(one.to_json() for one in target.policies),
                per_user=per_user,
                null_rankings=target.null,
            )
            step.note |= {"campaign": found.to_json(), "sent_at": None}
        for made in (judged, asked, kept):
            engine.drop(made)
        return found

    def adopt(
        self,
        path: Path,
        *,
        name: str = "",
        channel: str,
        control: str = "control",
        metric: str = "purchase",
        days: int = 14,
    ) -> list[tuple[Campaign, int]]:
        """Take in a randomised test that another tool ran, from its log (campaign_adopt.py); gives each campaign with the rows left out.

        name: of the campaign, where the log does not name them; else the one to take of those it names ("": all)
        raises: SourceError and DefinitionError for a log that cannot be read, ShopError where a name is taken or nobody is known
        """
        from huaxiang.apply.market.campaign_adopt import read_log

        check_metric(metric, days)
        zone, salt = self.settings.shop.timezone, self.pseudonyms.secret("campaign")
        drawn = read_log(path, name=name, control=control, zone=zone, salt=salt)
        for one in drawn:
            self._check(one.name, channel, 0.0, days, metric)
        return [(self._adopt(one, channel, metric, days), one.left_out) for one in drawn]

    def _adopt(self, drawn: Drawn, channel: str, metric: str, days: int) -> Campaign:
        engine = self.lake.engine
        users = self.pseudonyms.of_array(pa.array(drawn.users, pa.string()))
        loaded = engine.load(pa.table({"user_id": users, "offer": pa.array(drawn.offers, pa.string())})).get_name()
        known = engine.sql(self.lake.table("features"))
        kept = engine.store(
            f"SELECT '{drawn.name}' AS campaign, user_id, CASE WHEN offer = '' THEN 'holdout' ELSE 'treated' END AS arm, "
            f"TIMESTAMP '{drawn.at.isoformat(sep=' ')}' AS assigned_at, offer FROM {loaded} SEMI JOIN ({known}) USING (user_id)"
        )
        names = sorted(set(drawn.offers) - {""})
        with self.lake.step(f"campaign.{drawn.name}") as step:
            step.append(ASSIGNED, f"SELECT * EXCLUDE (offer) FROM {kept}")
            counts = {
                row["offer"]: int(row["n"])
                for row in engine.rows(f"SELECT offer, count(*) AS n FROM {kept} GROUP BY 1 ORDER BY 1")
            }
            if len(names) > 1:
                shown = as_controls(
                    f"SELECT * FROM {kept}", f"SELECT user_id, offer FROM {kept}", [Offer(one, 0.0) for one in names]
                )
                step.append(OFFERED, f"SELECT '{drawn.name}' AS campaign, user_id, offer FROM ({shown})")
            held = counts.pop("", 0)
            treated = sum(counts.values())
            if not held or not treated:
                raise ShopError("market.no_holdout", name=drawn.name, treated=treated, held_out=held)
            left_out = {"no_profile": len(drawn.users) - held - treated, "two_arms": drawn.in_two_arms}
            base, sd = self._before(kept, metric, days, drawn.at)
            share = held / (held + treated)
            found = Campaign(
                name=drawn.name,
                channel=channel,
                holdout=share,
                metric=metric,
                days=days,
                assigned_at=drawn.at,
                send_after=drawn.at,
                targeted_by="elsewhere",
                asked=len(drawn.users) + drawn.in_two_arms,
                treated=treated,
                held_out=held,
                left_out={reason: count for reason, count in left_out.items() if count},
                detectable=detectable_effect(held + treated, sd, holdout=share) if sd else 0.0,
                base=base,
                profile_as_of="",
                offers=counts if len(names) > 1 else {},
            )
            step.note |= {"campaign": found.to_json(), "sent_at": drawn.at.isoformat()}
        for made in (loaded, kept):
            engine.drop(made)
        return found

    def remove(self, name: str) -> None:
        """Take back a plan that was never exported or sent; raises ShopError for one that was."""
        from huaxiang.apply.market.campaign_out import take_back

        self.get(name)
        take_back(self.lake, name)

    def export(self, name: str, path: Path, *, at: datetime | None = None) -> Sent:
        """Write whom to send to as CSV (the shop's own user_id, campaign, send_after by its clock). The hold-out is not in it, nor is who may
        no longer be reached; both stay in the arm that they were assigned to. at: now, UTC (None: by the clock), from when on it counts as sent.
        """
        from huaxiang.apply.market.campaign_out import leaving
        from huaxiang.apply.market.campaign_send import write_csv

        found = self.get(name)
        judged, zone = self._judge(found.channel, found.assigned_at), self.settings.shop.timezone
        with leaving(self.lake, name, at):
            return write_csv(self.lake, self.vault, found, judged, path, zone=zone)

    def send(self, name: str, url: str, secret: bytes, *, at: datetime, **how: Any) -> Sent:
        """POST whom to send to, in signed batches, without who may no longer be reached. raises: ShopError in the quiet hours, or where
        the receiver does not take a batch (what was taken before is not sent again: batches carry their own id)."""
        from huaxiang.apply.market.campaign_out import leaving
        from huaxiang.apply.market.campaign_send import post_batches
        from huaxiang.apply.market.webhook import check_url

        zone = self.settings.shop.timezone
        opens = next_open(at, self.settings.contact, zone)
        if opens > at:
            raise ShopError("market.quiet", opens=opens.isoformat(sep=" ", timespec="minutes"))
        found = self.get(name)
        judged = self._judge(found.channel, found.assigned_at)
        with leaving(self.lake, name, at):  # first: of what breaks off halfway some has left
            check_url(url)
        return post_batches(self.lake, self.vault, found, judged, url, secret, at=at, zone=zone, **how)

    def read(self, name: str, *, at: datetime, days: int | None = None, metric: str | None = None) -> Reading:
        """What the campaign did, by the arms as assigned (see campaign_read.py); raises ShopError for one without hold-out."""
        return read_campaign(self.lake, self.get(name), at=at, days=days, metric=metric)

    def _check(self, name: str, channel: str, holdout: float, days: int, metric: str) -> None:
        if not _NAME.fullmatch(name):
            raise DefinitionError("market.name", name=name)
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,29}", channel):
            raise DefinitionError("market.channel", channel=channel)
        known = known_channels(self.lake, self.settings.contact)
        if channel not in known and (near := difflib.get_close_matches(channel, known, n=1, cutoff=NEAR)):
            raise DefinitionError("market.channel_near", channel=channel, near=near[0])
        if not 0 <= holdout < 1:
            raise DefinitionError("market.share", name="holdout", value=holdout)
        check_metric(metric, days)
        if name in self.names():
            raise ShopError("market.name_taken", name=name)

    def _check_time(self, at: datetime, *, by_profiles: bool) -> datetime:
        """The time of the last record; raises ShopError for a plan before the first, or one that later profiles would choose for."""
        first, last = known_span(self.lake)
        if first is not None and at < first:
            raise ShopError("market.before_records", at=_minute(at), first=_minute(first))
        as_of = profiles_at(self.lake, self.settings.shop.timezone)
        if by_profiles and as_of is not None and at < as_of:
            day = at.replace(tzinfo=UTC).astimezone(ZoneInfo(self.settings.shop.timezone)).date()
            raise ShopError("market.past", at=_minute(at), as_of=_minute(as_of), day=day)
        return last or at

    def _members(self, name: str, audience: str, users: Sequence[str] | None) -> tuple[list[str], str]:
        """The members of the audience (of them those in `users`), and the version of its definition."""
        texts = {one: settings.when for one, settings in self.settings.audiences.items()}
        members = member_ids(Reader(self.lake, texts, self.settings.profile), audience)
        if not members:
            raise DefinitionError("market.empty_audience", name=name, audience=audience)
        if users is not None:
            members = sorted(set(members) & set(self._pseudonyms(users)))
        return members, version_of(texts[audience], texts)

    def _judge(self, channel: str, at: datetime) -> str:
        """SQL of user_id and why (consent.py), by the consents and the suppression list as they are now."""
        contact = self.settings.contact
        gone = self._pseudonyms(read_list(self.folder / contact.suppress) if contact.suppress else [])
        zone = self.settings.shop.timezone
        return judge_customers(self.lake, contact, channel=channel, at=at, suppressed=gone, zone=zone)

    def _pseudonyms(self, ids: Sequence[str]) -> list[str]:
        """Ids of the shop as pseudonyms; a pseudonym stays one (both stand in the list, for either may be meant)."""
        return [*ids, *(self.pseudonyms.of(one) for one in ids)]

    def _before(self, assigned: str, metric: str, days: int, at: datetime) -> tuple[float, float]:
        """Mean and SD a customer of the metric over as many days before."""
        from huaxiang.apply.market.campaign_read import outcomes_sql

        rows = self.lake.engine.rows(
            f"SELECT avg(before) AS mean, coalesce(stddev_samp(before), 0) AS sd FROM "
            f"({outcomes_sql(self.lake, f'SELECT * FROM {assigned}', metric, days, at)})"
        )[0]
        return float(rows["mean"] or 0.0), float(rows["sd"] or 0.0)


def _count_reasons(engine: Engine, judged: str, among: str) -> tuple[dict[Any, int], int]:
    """Of the customers `among` whom it is asked for: why (None: may be reached) -> how many; and how many they are."""
    rows = engine.rows(
        f"SELECT why, count(*) AS n FROM {judged} WHERE user_id IN (SELECT user_id FROM {among}) GROUP BY why"
    )
    return {row["why"]: int(row["n"]) for row in rows}, int(engine.value(f"SELECT count(*) FROM {among}"))


def _minute(at: datetime | None) -> str:
    return "-" if at is None else at.isoformat(sep=" ", timespec="minutes")


def _reasons(counts: dict[Any, int]) -> dict[str, str]:
    """Why how many are left out, in every language."""
    found = {reason: count for reason, count in counts.items() if reason and count}
    return {
        lang: "; ".join(f"{count:,} {Words(lang)(f'market.reason.{reason}')}" for reason, count in found.items()) or "-"
        for lang in LANGS
    }
