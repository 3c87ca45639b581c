"""Live against batch: the features of customers as their live states have them, and as the last build computes them from the same events.

Asked are customers all of whose events the build knows. Whose events cleaning changed (a refund matched, a robot set aside, an order held
fake) are told apart: there the two are meant to differ until the states are made anew.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from math import isclose
from typing import Any

from huaxiang.engine.duck import quote
from huaxiang.engine.lake import write_atomically
from huaxiang.features.at import features_at
from huaxiang.features.live.store import LiveStore
from huaxiang.features.live.tail import events_of, read_tail
from huaxiang.features.mine import declared_features
from huaxiang.features.users import BUCKETS
from huaxiang.shop import Shop

log = logging.getLogger(__name__)

SAMPLE = 1_000
FILE = "live-check.json"


@dataclass(frozen=True)
class Check:
    """What a check found. users: compared; cleaned: of them, those whose events cleaning changed; features: compared for each;
    differing: feature → customers in which live and batch differ, among those not cleaned; differing_cleaned: among the others;
    restated: of features that read what things cost before (a purchase learned late changes that for everybody, and states keep what they
    knew); examples: user, feature, live, batch"""

    at: str
    users: int = 0
    cleaned: int = 0
    features: int = 0
    differing: dict[str, int] = field(default_factory=dict)
    differing_cleaned: dict[str, int] = field(default_factory=dict)
    restated: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[str, str, Any, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def check_live(shop: Shop, live: LiveStore, *, as_of: date, sample: int = SAMPLE, seed: int = 0) -> Check:
    """Compares a sample of customers.

    live: states that know at least what the last build knows; as_of: a local midnight after all of it
    """
    upto = int(shop.lake.note("build").get("live_offset", 0))
    users, among = _sample(shop, live, upto, sample, seed)
    names = _names(shop, live)
    batch = _batch(shop, users, names, as_of, among)
    states = live.states(users)
    registered = live.registered(users)
    cleaned = _cleaned(shop, live, users)
    found: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    restated, priced = Counter[str](), {one.name for one in live.fold.features if "price_ratio" in one.text()}
    examples: list[tuple[str, str, Any, Any]] = []
    for user in users:
        values = live.fold.finish(states[user], as_of, registered=registered.get(user))
        row = batch.get(user, {})
        for name in names:
            if not same(values[name], row.get(name)) and name in priced:
                restated[name] += 1
            elif not same(values[name], row.get(name)):
                found[user in cleaned][name] += 1
                if user not in cleaned and len(examples) < 20:
                    examples.append((user, name, values[name], row.get(name)))
    made = Check(
        datetime.now(UTC).isoformat(timespec="seconds"), len(users), len(cleaned), len(names), dict(found[False].most_common()),
        dict(found[True].most_common()), dict(restated), examples,
    )  # fmt: skip
    write_atomically(
        shop.folder / "reports" / FILE, json.dumps(made.to_dict(), ensure_ascii=False, indent=1, default=str)
    )
    log.log(
        logging.WARNING if made.differing else logging.INFO,
        "live: %d customers checked against batch, %d features differ",
        made.users,
        len(made.differing),
    )
    return made


def read_check(shop: Shop) -> dict[str, Any] | None:
    """What the last check found."""
    path = shop.folder / "reports" / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same but for the order in which numbers were added."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _sample(shop: Shop, live: LiveStore, upto: int, sample: int, seed: int) -> tuple[list[str], tuple[int, int]]:
    """The customers of some buckets all of whose events the build knows, about `sample`, and the buckets [low, high)."""
    buckets = min(BUCKETS, -(-sample * BUCKETS // max(shop.lake.rows("ready.users"), 1)))
    low = random.Random(seed).randrange(BUCKETS - buckets + 1)
    table = shop.engine.sql(shop.lake.table("ready.users"))
    sql = f"SELECT user_id FROM ({table}) WHERE bucket >= {low} AND bucket < {low + buckets} ORDER BY user_id LIMIT {4 * sample}"
    users = [row["user_id"] for row in shop.engine.rows(sql)]
    later = {owner for (owner,) in live.database.rows("SELECT DISTINCT owner FROM tail WHERE upto > ?", (upto,))}
    owners = {user: {user, *live.ledger.visitors_of(user)} for user in users}
    gone = set(live.erased())
    return [user for user in users if not owners[user] & later and user not in gone], (low, low + buckets)


def _names(shop: Shop, live: LiveStore) -> list[str]:
    """Features that live states and the last build define alike."""
    note = shop.lake.note("build")
    declared = declared_features(shop.settings.features, note["categories"], sells=note.get("sells", True))
    texts = {feature.name: feature.text() for feature in declared}
    stored = set(shop.lake.table("features").columns)
    return [one.name for one in live.fold.features if texts.get(one.name) == one.text() and one.name in stored]


def _batch(
    shop: Shop, users: Sequence[str], names: Sequence[str], as_of: date, among: tuple[int, int]
) -> dict[str, dict[str, Any]]:
    wanted = set(users)
    found = features_at(shop.lake, shop.settings, names, [as_of], among=among, everyone=True)
    return {row["user_id"]: row for row in found.to_pylist() if row["user_id"] in wanted}


def _cleaned(shop: Shop, live: LiveStore, users: Sequence[str]) -> set[str]:
    """Whose events of the tail cleaning changed or set aside, or who gave something back."""
    owners = {user: [user, *live.ledger.visitors_of(user)] for user in users}
    held = read_tail(live.database, [owner for some in owners.values() for owner in some])
    ids = {
        user: set(events_of(held[owner] for owner in some).column("event_id").to_pylist())
        for user, some in owners.items()
    }
    listed = ", ".join(quote(one) for some in ids.values() for one in some) or "NULL"
    events = shop.engine.sql(shop.lake.table("ready.events"))
    known = {
        row["event_id"] for row in shop.engine.rows(f"SELECT event_id FROM ({events}) WHERE event_id IN ({listed})")
    }
    backs = shop.engine.rows(
        f"SELECT DISTINCT user_id FROM ({events}) WHERE (refund_of IS NOT NULL OR refunded > 0) AND user_id IN ({', '.join(map(quote, users)) or 'NULL'})"
    )
    return {user for user, some in ids.items() if not some <= known} | {row["user_id"] for row in backs}
