"""Several offers in one campaign: dealt by chance, learned, given within a budget; and tests that another tool ran."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from huaxiang.apply.market.campaign_adopt import read_log
from huaxiang.apply.market.campaign_read import read_campaign
from huaxiang.apply.market.campaign_show import show_campaign, show_reading, show_uplift
from huaxiang.apply.market.campaign_target import Spend
from huaxiang.apply.market.campaigns import Campaigns
from huaxiang.apply.market.offers import Offer, parse_offer
from huaxiang.apply.market.uplift_learners import learner_grid
from huaxiang.apply.market.uplift_shop import find_uplift
from huaxiang.engine import Engine, Lake
from huaxiang.errors import DefinitionError, ShopError, SourceError
from huaxiang.settings import ContactSettings, Settings
from huaxiang.trust import Pseudonyms, Vault
from huaxiang.words import Words

from .test_campaigns import START, event, names, send, write

KEY = b"k" * 32
TEN, FIVE = Offer("ten", 10.0), Offer("five", 5.0)
LATER = START + timedelta(days=60)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def campaigns(lake: Lake) -> Campaigns:
    folder = lake.folder.parent
    settings = Settings(contact=ContactSettings(unknown=True, most=9))
    return Campaigns(lake, settings, folder, Pseudonyms(KEY), Vault(folder / "vault.db", b"v" * 32))


def given(lake: Lake, name: str) -> list[dict[str, Any]]:
    tables = {one: lake.engine.sql(lake.table(f"market.{one}")) for one in ("offers", "assigned")}
    return lake.engine.rows(
        f"SELECT user_id, offer, arm FROM ({tables['offers']}) JOIN ({tables['assigned']}) USING (campaign, user_id) "
        f"WHERE campaign = '{name}' ORDER BY 1, 2"
    )


def test_without_budget_offers_are_dealt_evenly_and_the_held_out_stand_for_each(lake: Lake) -> None:
    write(lake, names(900), [])
    found = campaigns(lake).plan("try", channel="email", at=START, holdout=0.3, offers=[TEN, FIVE])
    rows = given(lake, "try")
    treated = Counter(row["offer"] for row in rows if row["arm"] == "treated")
    assert treated == found.offers and sum(treated.values()) == found.treated
    assert treated["ten"] == pytest.approx(found.treated / 2, rel=0.15)
    held = Counter(row["offer"] for row in rows if row["arm"] == "holdout")
    assert held == {"ten": found.held_out, "five": found.held_out}
    path = lake.folder.parent / "try.csv"
    assert campaigns(lake).export("try", path).customers == found.treated
    sent = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert Counter(row["offer"] for row in sent) == treated


@pytest.fixture
def learned(lake: Lake) -> tuple[Campaigns, dict[str, Any]]:
    """1600 customers, of whom "ten" moves the active most, and "five" only the others: it pays to give each their own."""
    write(lake, names(1600), [])
    mine = campaigns(lake)
    mine.plan("try", channel="email", at=START, holdout=0.3, offers=[TEN, FIVE])
    send(lake, "try", START)
    chance, events = np.random.default_rng(5), []
    for row in given(lake, "try"):
        effect = {"ten": (0.2, 0.5), "five": (0.5, 0.0)}[row["offer"]][int(row["user_id"][4:]) % 2]
        if row["arm"] == "holdout" and row["offer"] == "ten":
            continue  # the held-out stand in two rows
        if chance.random() < 0.05 + effect * (row["arm"] == "treated"):
            events.append(event(row["user_id"], "purchase", START + timedelta(days=3), amount=40.0))
    events.append(event("user0000", "view", START + timedelta(days=90)))
    note = lake.note("campaign.try")
    write(lake, names(1600), events)
    assert lake.note("campaign.try") == note
    return mine, find_uplift(lake, seed=1, repeats=1, grid=learner_grid(binary=True)[:1])


def test_each_offer_is_learned_and_each_customer_gets_what_moves_them(lake: Lake, learned) -> None:
    mine, found = learned
    assert set(found["offers"]) == {"ten", "five"}
    assert not any(one["uplift"]["is_null"] for one in found["offers"].values())
    plan = mine.plan("paid", channel="email", at=LATER, holdout=0.2, offers=[TEN, FIVE], spend=Spend(1500.0, 0.1, 40.0))
    rows = given(lake, "paid")
    right = [(int(row["user_id"][4:]) % 2 == 1) == (row["offer"] == "ten") for row in rows]
    assert np.mean(right) > 0.95
    assert max(Counter(row["user_id"] for row in rows).values()) == 1
    assert len(rows) == plan.treated + plan.held_out, "the held-out keep their offer on paper"
    optimal, random, propensity, everyone = plan.policies
    assert [one["name"] for one in plan.policies] == ["optimal", "random", "propensity", "everyone"]
    assert optimal["cost"] <= 1500.0 and optimal["profit"] > max(random["profit"], propensity["profit"])
    low, high = optimal["interval"]
    assert low < high and everyone["over_budget"] and plan.expected == optimal["profit"]
    assert mine.get("paid") == plan and plan.null_rankings == ()
    for lang, said in (("en", "at random"), ("zh", "随机")):
        console = Console(record=True, width=140)
        show_campaign(plan, console, Words(lang))
        show_uplift(found, console, Words(lang))
        told = console.export_text()
        assert said in told and f"[{low:,.2f}, {high:,.2f}]" in told and "{" not in told


def test_a_ranking_no_better_than_chance_is_said_where_it_chooses(lake: Lake, learned) -> None:
    mine, found = learned
    with lake.step("uplift") as step:
        step.note |= {"basis": "effect", "version": found["version"], "null": ["five"]}
    plan = mine.plan("doubt", channel="email", at=LATER, offers=[TEN, FIVE], spend=Spend(1500.0, 0.1, 40.0))
    assert mine.get("doubt").null_rankings == plan.null_rankings == ("five",)
    console = Console(record=True, width=140)
    show_campaign(plan, console, Words("en"))
    assert "No better than a random order at telling whom it moves: five" in console.export_text()


def test_caps_of_offers_and_customers_are_kept(lake: Lake, learned) -> None:
    mine, _ = learned
    terms = {"channel": "email", "at": LATER, "holdout": 0.0, "spend": Spend(1e6, 0.1, 40.0)}
    mine.plan("capped", offers=[Offer("ten", 10.0, most=50), FIVE], **terms)
    assert Counter(row["offer"] for row in given(lake, "capped"))["ten"] == 50
    plan = mine.plan("two", offers=[Offer("ten", 0.0), Offer("five", 0.0)], per_user=2, **terms)
    assert max(Counter(row["user_id"] for row in given(lake, "two")).values()) == 2
    assert sum(plan.offers.values()) > plan.treated
    with pytest.raises(ShopError, match="known are: five, ten"):
        mine.plan("new", offers=[Offer("twenty", 20.0)], **terms)


@pytest.mark.parametrize("text", ["ten", "ten=", "ten=-1", "ten=nan", "=3", "ten=3:x", "ten=3:-1", "a b=3"])
def test_what_is_no_offer_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="is no offer"):
        parse_offer(text)


def test_an_offer_is_read_with_its_cap() -> None:
    assert parse_offer("ten=10") == Offer("ten", 10.0)
    assert parse_offer("满100减10=9.5:200") == Offer("满100减10", 9.5, 200)


def test_two_offers_of_one_name_or_none_a_customer_are_refused(lake: Lake) -> None:
    write(lake, names(5), [])
    with pytest.raises(DefinitionError, match="two offers"):
        campaigns(lake).plan("x", channel="email", at=START, offers=[TEN, TEN])
    with pytest.raises(DefinitionError, match="would send nothing"):
        campaigns(lake).plan("x", channel="email", at=START, offers=[TEN], per_user=0)


def write_log(path: Path, rows: list[tuple[Any, ...]], header: str = "uid,campaign,arm,propensity,sent_at") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_a_log_of_draws_becomes_campaigns(lake: Lake, tmp_path: Path) -> None:
    pseudonyms = Pseudonyms(KEY)
    known = [pseudonyms.of(f"{n}") for n in range(60)]
    write(lake, known, [event(known[0], "view", START)])
    arms = ("ten", "five", "control")
    day = "2024-03-02 10:00:00"
    rows = [(n, "C1", arms[n % 3], 1 / 3, day) for n in range(60)] + [("stranger", "C1", "ten", 1 / 3, day)]
    rows += [(n, "C2", arms[n % 3], 1 / 3, "2024-04-02 10:00:00") for n in range(30)]
    [(one, left_out), (two, _)] = campaigns(lake).adopt(write_log(tmp_path / "log.csv", rows), channel="sms")
    assert (one.name, one.treated, one.held_out, one.offers, left_out) == ("C1", 40, 20, {"five": 20, "ten": 20}, 0)
    assert one.left_out == {"no_profile": 1} and one.targeted_by == "elsewhere" and two.treated == 20
    assert one.assigned_at == datetime(2024, 3, 2, 10)
    held = [row for row in given(lake, "C1") if row["arm"] == "holdout"]
    assert len(held) == 40  # each of the 20 beside both offers
    with pytest.raises(ShopError, match="there is a campaign 'C1' already"):
        campaigns(lake).adopt(tmp_path / "log.csv", channel="sms")
    with pytest.raises(DefinitionError, match="it has C1, C2"):
        campaigns(lake).adopt(tmp_path / "log.csv", name="x", channel="sms")


def test_what_another_tool_held_out_is_not_said_to_be_planned(lake: Lake, tmp_path: Path) -> None:
    """Of 60 drawn elsewhere every third was held out; one of our own says that the hash decides."""
    pseudonyms = Pseudonyms(KEY)
    known = [pseudonyms.of(f"{n}") for n in range(60)]
    events = [event(user, "purchase", START + timedelta(days=5), amount=2.0) for user in known[:20]]
    write(lake, known, [event(known[0], "view", START), *events, event(known[0], "view", START + timedelta(days=40))])
    rows = [(n, ("ten", "five", "control")[n % 3], START + timedelta(days=2)) for n in range(60)]
    mine = campaigns(lake)
    mine.adopt(write_log(tmp_path / "log.csv", rows, "uid,arm,sent_at"), name="theirs", channel="sms")
    mine.plan("ours", channel="email", at=START + timedelta(days=2), holdout=0.5)
    said = {}
    for name in ("theirs", "ours"):
        found = read_campaign(lake, mine.get(name), at=START + timedelta(days=40))
        console = Console(record=True, width=200)
        show_reading(found, console, Words("en"))
        said[name] = console.export_text()
        assert ("a hash of name and customer" in said[name]) is (name == "ours") is (found.planned_holdout is not None)


def test_who_is_in_two_arms_is_left_out_and_counted(lake: Lake, tmp_path: Path) -> None:
    """Six rows of five customers: 1 is in both arms, 2 twice in the same; a Chinese name is a name."""
    pseudonyms = Pseudonyms(KEY)
    known = [pseudonyms.of(f"{n}") for n in range(5)]
    write(lake, known, [event(known[0], "view", START)])
    day = "2024-03-02"
    rows = [
        (0, "mail", day),
        (1, "mail", day),
        (1, "control", day),
        (2, "control", day),
        (2, "control", day),
        (3, "mail", day),
    ]
    log = write_log(tmp_path / "log.csv", rows, "uid,arm,sent_at")
    [(found, _)] = campaigns(lake).adopt(log, name="春季", channel="sms")
    assert (found.name, found.asked, found.treated, found.held_out, found.left_out) == (
        "春季",
        4,
        2,
        1,
        {"two_arms": 1},
    )
    with pytest.raises(DefinitionError, match="does not name its campaigns"):
        campaigns(lake).adopt(log, channel="sms")


def test_one_campaign_of_several_is_taken_by_its_name(tmp_path: Path) -> None:
    rows = [(n, f"C{n % 2}", ("mail", "control")[n % 4 // 2], 0.5, "2024-03-02") for n in range(40)]
    log = write_log(tmp_path / "log.csv", rows)
    [one] = read_log(log, name="C1", control="control", zone="UTC", salt="s")
    assert (one.name, len(one.users)) == ("C1", 20)


def test_a_margin_below_nothing_is_refused(lake: Lake) -> None:
    write(lake, names(5), [])
    with pytest.raises(DefinitionError, match="margin of -4"):
        campaigns(lake).plan("x", channel="email", at=START, spend=Spend(100.0, 0.4, -4.0))


def test_unequal_chances_are_evened_out(tmp_path: Path) -> None:
    """Half the customers were treated with chance 0.8, half with 0.2: in what is kept both are as often among the treated."""
    chance = np.random.default_rng(0)
    rows = []
    for n in range(4000):
        treat = 0.8 if n % 2 else 0.2
        hit = chance.random() < treat
        rows.append((n, "C", "mail" if hit else "control", treat if hit else 1 - treat, "2024-03-02"))
    [found] = read_log(write_log(tmp_path / "log.csv", rows), control="control", zone="UTC", salt="s")
    rates = {odd: [] for odd in (0, 1)}
    for user, offer in zip(found.users, found.offers, strict=True):
        rates[int(user) % 2].append(bool(offer))
    assert np.mean(rates[0]) == pytest.approx(np.mean(rates[1]), abs=0.06)
    assert found.left_out + len(found.users) == 4000


@pytest.mark.parametrize(
    ("header", "row", "error", "said"),
    [
        ("uid,arm", (1, "control"), SourceError, "sent_at"),
        ("uid,arm,sent_at", (1, "mail", "2024-03-02"), DefinitionError, "no arm 'control'"),
        ("uid,arm,sent_at", (1, "control", "2024-03-09"), DefinitionError, "over 7 days"),
        ("uid,arm,sent_at,propensity", (1, "control", "2024-03-02", 0), DefinitionError, "chances above 0"),
        ("uid,arm,sent_at,propensity", (1, "control", "2024-03-02", "half"), DefinitionError, "chances above 0"),
    ],
    ids=["column", "control", "days", "propensity", "text"],
)
def test_a_log_that_shows_no_test_is_refused(tmp_path: Path, header: str, row, error, said: str) -> None:
    other = (2, "mail", "2024-03-02", 0.5)[: len(row)]
    with pytest.raises(error, match=said):
        read_log(write_log(tmp_path / "l.csv", [row, other], header), name="x", control="control", zone="UTC", salt="s")
