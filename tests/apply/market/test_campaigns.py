"""Campaigns of a shop: who may be reached, who is held out, what leaves the house, and what was done by it."""

from __future__ import annotations

import csv
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from huaxiang.apply.market.campaign_out import leaving
from huaxiang.apply.market.campaign_show import show_campaign
from huaxiang.apply.market.campaign_target import Spend
from huaxiang.apply.market.campaigns import Campaigns
from huaxiang.apply.market.consent import next_open
from huaxiang.apply.market.holdout import place_of, place_sql
from huaxiang.apply.market.offers import Offer
from huaxiang.apply.market.uplift_learners import learner_grid
from huaxiang.apply.market.uplift_rows import randomised_rows
from huaxiang.apply.market.uplift_shop import find_uplift
from huaxiang.engine import Engine, Lake
from huaxiang.errors import DefinitionError, HuaxiangError, ShopError
from huaxiang.progress import LineProgress
from huaxiang.settings import AudienceSettings, ContactSettings, Settings, ShopSettings
from huaxiang.trust import Pseudonyms, Vault
from huaxiang.words import Words

START = datetime(2024, 3, 1, 12)
KEY = b"k" * 32
OPEN = ContactSettings(unknown=True)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with Engine(memory_gb=0.5, threads=1, temp=tmp_path / "tmp") as engine:
        yield Lake(tmp_path / "lake", engine)


def event(user: str, name: str, when: datetime, **rest) -> dict:
    blank = {"amount": None, "campaign_id": None, "anonymous_id": None}
    return blank | {"user_id": user, "event": name, "ts": when} | rest


def write(
    lake: Lake,
    users: list[str],
    events: list[dict],
    consents: dict[str, list[str] | None] | None = None,
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """The tables that campaigns read. Customers carry one feature, `active` (0, 1), by turns."""
    rows = [one | {"event_id": f"e{n}", "received_at": one["ts"], "row_hash": n} for n, one in enumerate(events)]
    schema = pa.schema(
        [(name, pa.string()) for name in ("user_id", "event", "campaign_id", "anonymous_id", "event_id")]
        + [
            ("amount", pa.float64()),
            ("ts", pa.timestamp("us")),
            ("received_at", pa.timestamp("us")),
            ("row_hash", pa.int64()),
        ]
    )
    features = pa.table(
        {
            "user_id": users,
            "as_of": pa.array([START.date()] * len(users)),
            "active": [n % 2 for n in range(len(users))],
            "spend_90d": [float(n % 2) for n in range(len(users))],
            **(more or {}),
        }
    )
    consents = consents or {}
    with lake.step("build") as step:
        step.replace("features", features)
        step.replace("training", features)
        step.replace("clean.events", pa.Table.from_pylist(rows, schema))
        step.replace(
            "clean.users",
            pa.table(
                {
                    "user_id": pa.array(list(consents), pa.string()),
                    "consent": pa.array(list(consents.values()), pa.list_(pa.string())),
                }
            ),
        )
        step.note["as_of"] = START.date().isoformat()


def campaigns(lake: Lake, contact: ContactSettings = OPEN) -> Campaigns:
    folder = lake.folder.parent
    settings = Settings(contact=contact, shop=ShopSettings(timezone="Asia/Shanghai"))
    return Campaigns(lake, settings, folder, Pseudonyms(KEY), Vault(folder / "vault.db", b"v" * 32))


def names(count: int) -> list[str]:
    return [f"user{n:04d}" for n in range(count)]


def arms(lake: Lake, name: str) -> dict[str, str]:
    rows = lake.engine.rows(
        f"SELECT user_id, arm FROM ({lake.engine.sql(lake.table('market.assigned'))}) WHERE campaign = '{name}'"
    )
    return {row["user_id"]: row["arm"] for row in rows}


def test_place_is_the_same_in_sql_and_python_and_even(lake: Lake) -> None:
    users = names(3000)
    table = lake.engine.load(pa.table({"user_id": users}))
    rows = lake.engine.rows(f"SELECT user_id, {place_sql('s.a', 'user_id')} AS place FROM {table.get_name()}")
    found = {row["user_id"]: row["place"] for row in rows}
    assert found == {user: place_of("s.a", user) for user in users}
    places = np.array([place_of("s.a", user) for user in users])
    assert abs(places.mean() - 0.5) < 0.02
    assert (
        abs(np.corrcoef(places, [place_of("s.b", user) for user in users])[0, 1]) < 0.06
    )  # another campaign, another draw


def test_plan_holds_out_the_share_asked_and_the_same_customers_again(lake: Lake) -> None:
    write(lake, names(2000), [])
    found = campaigns(lake).plan("spring", channel="email", at=START, holdout=0.2)
    assert found.treated + found.held_out == 2000
    assert found.held_out == pytest.approx(400, abs=60)
    first = arms(lake, "spring")
    salt = f"{Pseudonyms(KEY).secret('campaign')}.spring"
    assert all((place_of(salt, user) < 0.2) == (arm == "holdout") for user, arm in first.items())
    assert campaigns(lake).get("spring") == found
    with pytest.raises(ShopError, match="already"):
        campaigns(lake).plan("spring", channel="email", at=START)


def test_the_share_really_held_out_is_told_beside_the_planned_one(lake: Lake) -> None:
    write(lake, names(50), [])
    found = campaigns(lake).plan("spring", channel="email", at=START, holdout=0.1)
    held = sum(place_of(f"{Pseudonyms(KEY).secret('campaign')}.spring", user) < 0.1 for user in names(50))
    assert found.held_out == held and found.held_share == found.to_json()["held_share"] == held / 50
    for lang, planned in (("en", "10.0% planned"), ("zh", "计划 10.0%")):
        console = Console(record=True, width=200)
        show_campaign(found, console, Words(lang))
        told = console.export_text()
        assert planned in told and f"{held / 50:.1%}" in told and str(held) in told


def test_a_difference_no_share_can_have_is_not_promised(lake: Lake) -> None:
    """Of 8 customers 4 bought in the days before, so the SD is 0.53; with one or two held out it takes a rise far above the 0.5 there is."""
    bought = [event(f"user{n:04d}", "purchase", START - timedelta(days=2), amount=1.0) for n in range(4)]
    write(lake, names(8), [*bought, event("user0000", "view", START)])
    mine = campaigns(lake)
    found = mine.plan("few", channel="email", at=START, holdout=0.3)
    assert found.has_holdout and found.base == 0.5 and found.detectable > 0.5
    for lang, said in (("en", "So few customers cannot show an effect"), ("zh", "顾客太少，无法看出效果")):
        console = Console(record=True, width=300)
        show_campaign(found, console, Words(lang))
        told = console.export_text()
        assert said in told and "4 times in 5" not in told and "五次中有四次" not in told


def test_a_plan_in_the_past_asks_only_who_was_known_then(lake: Lake) -> None:
    then = START - timedelta(days=40)
    seen = [event(f"user{n:04d}", "view", then + timedelta(days=n - 5)) for n in range(10)]  # 5 of them before `then`
    write(lake, names(10), seen)
    mine = campaigns(lake)
    found = mine.plan("past", channel="email", at=then, holdout=0)
    assert sorted(arms(lake, "past")) == names(5) and found.left_out == {"not_yet": 5}
    assert mine.plan("now", channel="email", at=START, holdout=0).treated == 10
    with pytest.raises(ShopError, match="first record"):
        mine.plan("early", channel="email", at=then - timedelta(days=30))
    with pytest.raises(ShopError, match="build SHOP --as-of 2024-01-2"):
        mine.plan("chosen", channel="email", at=then, most=3)
    late = mine.plan("late", channel="email", at=START + timedelta(days=30), holdout=0.5)
    assert late.stale_days == 30
    with pytest.raises(ShopError, match="nothing is known of it by then"):
        mine.read("late", at=START + timedelta(days=40))


def test_an_audience_is_asked_and_named_with_its_version(lake: Lake) -> None:
    write(lake, names(40), [])
    mine = campaigns(lake)
    mine.settings = mine.settings.model_copy(update={"audiences": {"odd": AudienceSettings(when="active == 1")}})
    with lake.step("profile") as step:
        step.replace("profiles", pa.table({"user_id": names(40), "active": [n % 2 for n in range(40)]}))
    found = mine.plan("x", channel="email", at=START, holdout=0, audience="odd", users=[*names(10), "stranger"])
    assert sorted(arms(lake, "x")) == [f"user{n:04d}" for n in range(1, 10, 2)]
    assert (found.audience, found.targeted_by, len(found.audience_version)) == ("odd", "audience", 12)
    with pytest.raises(DefinitionError, match="did you mean odd"):
        mine.plan("y", channel="email", at=START, audience="od")


def test_each_customer_left_out_has_one_reason(lake: Lake) -> None:
    users = [*"abcdefg"]
    consents = {"a": ["marketing"], "b": ["profiling"], "c": ["Email"], "d": None, "e": ["sms"], "f": ["marketing"]}
    recent = [event("f", "coupon_receive", START - timedelta(days=n), campaign_id=f"c{n}") for n in (1, 2)]
    repeated = [event("a", "coupon_receive", START - timedelta(days=1), campaign_id="c9") for _ in range(5)]
    write(lake, users, [*recent, *repeated], consents)
    (lake.folder.parent / "never.txt").write_text("user_id\nc\n", encoding="utf-8")
    found = campaigns(lake, ContactSettings(suppress="never.txt")).plan("x", channel="email", at=START, holdout=0)
    # a: reached five times by one campaign, which counts once; c is suppressed, d and g say nothing, b and e agreed to other things
    assert arms(lake, "x") == {"a": "treated"}
    assert found.left_out == {"suppressed": 1, "refused": 2, "unknown": 2, "too_often": 1}


def test_own_campaigns_count_against_the_cap(lake: Lake) -> None:
    write(lake, names(10), [])
    mine = campaigns(lake, ContactSettings(unknown=True, most=1))
    mine.plan("one", channel="email", at=START, holdout=0)
    assert mine.plan("idle", channel="email", at=START, holdout=0).treated == 10, "a plan alone reaches nobody"
    mine.export("one", lake.folder.parent / "one.csv", at=START + timedelta(days=2))
    for days in (3, 8):  # of the seven that count, from when it was exported
        with pytest.raises(ShopError, match="10 reached too often lately"):
            mine.plan("two", channel="email", at=START + timedelta(days=days), holdout=0)
    assert mine.plan("three", channel="email", at=START + timedelta(days=9), holdout=0).treated == 10


def test_a_plan_of_an_earlier_version_counts_as_sent_when_it_was_planned(lake: Lake) -> None:
    write(lake, names(10), [])
    mine = campaigns(lake, ContactSettings(unknown=True, most=1))
    terms = mine.plan("old", channel="email", at=START, holdout=0).to_json()
    with lake.step("campaign.old") as step:
        step.note["campaign"] = terms | {"assigned_at": START.isoformat()}
    with pytest.raises(ShopError, match="10 reached too often lately"):
        mine.plan("two", channel="email", at=START + timedelta(days=1), holdout=0)
    with pytest.raises(ShopError, match="earlier version"):
        mine.remove("old")


def test_only_a_plan_that_never_left_is_taken_back(lake: Lake, receiver) -> None:
    url, handler = receiver
    write(lake, names(10), [])
    mine = campaigns(lake, ContactSettings(unknown=True, most=9))
    plans = {name: {"channel": "email", "at": START, "holdout": 0.0} for name in ("kept", "gone", "posted")}
    for name, terms in plans.items():
        mine.plan(name, offers=[Offer("ten", 10.0)], **terms)
    with pytest.raises(ShopError, match="no folder"):
        mine.export("gone", lake.folder.parent / "nowhere" / "x.csv")
    with pytest.raises(ShopError, match="http or https"):
        mine.send("gone", "ftp://x", SECRET, at=DAY)
    mine.remove("gone")
    assert mine.names() == ["kept", "posted"] and arms(lake, "gone") == {} and len(arms(lake, "kept")) == 10
    assert lake.rows("market.offers") == 20
    with pytest.raises(ShopError, match="no campaign 'gone'"):
        mine.remove("gone")
    mine.export("kept", lake.folder.parent / "kept.csv", at=START)
    handler.answers = [400]
    with pytest.raises(ShopError, match="did not take batch 0"):
        mine.send("posted", url, SECRET, at=DAY)
    for name, at in (("kept", START), ("posted", DAY)):
        with pytest.raises(ShopError, match=f"{name} was exported or sent at {at.isoformat()}"):
            mine.remove(name)
    assert mine.plan("gone", **plans["gone"]).treated == 10, "its name is free again"


def test_nobody_to_reach_is_an_error_with_the_reasons(lake: Lake) -> None:
    write(lake, names(5), [])
    with pytest.raises(ShopError, match="5 consent not recorded"):
        campaigns(lake, ContactSettings()).plan("x", channel="email", at=START)
    assert campaigns(lake).names() == []


def test_a_list_may_hold_the_shops_ids_or_pseudonyms(lake: Lake) -> None:
    pseudonym = Pseudonyms(KEY).of("17850")
    write(lake, [pseudonym, *names(5)], [])
    found = campaigns(lake).plan("x", channel="sms", at=START, holdout=0, users=["17850", "user0001", "stranger"])
    assert set(arms(lake, "x")) == {pseudonym, "user0001"}
    assert (found.asked, found.left_out, found.targeted_by) == (3, {"no_profile": 1}, "list")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a b"}, "cannot be a campaign's name"),
        ({"name": "x'; DROP"}, "cannot be a campaign's name"),
        ({"channel": "E-mail"}, "cannot be a channel"),
        ({"holdout": 1.0}, "holdout = 1.0"),
        ({"metric": "clicks"}, "clicks"),
        ({"most": 0}, "0 customers"),
        ({"most": 3}, "no ranking"),
    ],
    ids=["name", "sql", "channel", "holdout", "metric", "most", "ranking"],
)
def test_impossible_plans_are_errors(lake: Lake, change, said) -> None:
    write(lake, names(5), [])
    given = {"name": "x", "channel": "email", "at": START} | change
    with pytest.raises(HuaxiangError, match=said):
        campaigns(lake).plan(given.pop("name"), **given)


@pytest.mark.parametrize(
    ("utc", "opens"),
    [
        ("2024-03-01T04:00", "2024-03-01T04:00"),  # noon in Shanghai
        ("2024-03-01T13:00", "2024-03-02T01:00"),  # 21:00: until 9:00 of the next day
        ("2024-02-29T18:00", "2024-03-01T01:00"),  # 2:00 at night: until 9:00 of the same day
        ("2024-03-01T01:00", "2024-03-01T01:00"),  # 9:00 sharp
    ],
)
def test_quiet_hours_are_the_shops(utc: str, opens: str) -> None:
    assert next_open(datetime.fromisoformat(utc), ContactSettings(), "Asia/Shanghai") == datetime.fromisoformat(opens)


def test_quiet_hours_within_a_day_and_never() -> None:
    noon = ContactSettings(quiet_from="12:00", quiet_until="14:00")
    assert next_open(datetime(2024, 1, 1, 13), noon, "UTC") == datetime(2024, 1, 1, 14)
    assert next_open(datetime(2024, 1, 1, 3), ContactSettings(quiet_from="00:00", quiet_until="00:00"), "UTC").hour == 3


def test_csv_holds_the_shops_ids_of_the_treated_only(lake: Lake) -> None:
    write(lake, names(50), [])
    mine = campaigns(lake)
    mine.plan("x", channel="email", at=START, holdout=0.3)
    mine.vault.put_many(names(50), "shop_id", [f"=shop{n}" for n in range(50)])
    mine.vault.put_many(names(50), "email", ["a@example.com"] * 50)
    path = lake.folder.parent / "out.csv"
    count = mine.export("x", path).customers
    text = path.read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert count == len(rows) == mine.get("x").treated
    treated = {int(user[4:]) for user, arm in arms(lake, "x").items() if arm == "treated"}
    assert {row["user_id"] for row in rows} == {f"'=shop{n}" for n in treated}  # a formula is not run by a spreadsheet
    assert "@" not in text


def test_send_after_is_told_by_the_shops_clock_with_its_offset(lake: Lake, receiver) -> None:
    """22:30 in Shanghai is 14:30 UTC, in the quiet hours: they end at 9:00 of the next day, 1:00 UTC."""
    url, handler = receiver
    write(lake, names(3), [])
    mine = campaigns(lake)
    found = mine.plan("x", channel="email", at=datetime(2024, 3, 1, 14, 30), holdout=0)
    path = lake.folder.parent / "out.csv"
    mine.export("x", path)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert {row["send_after"] for row in rows} == {"2024-03-02T09:00:00+08:00"}
    mine.send("x", url, SECRET, at=DAY + timedelta(days=1))
    assert json.loads(handler.seen[0][1])["send_after"] == "2024-03-02T09:00:00+08:00"
    assert found.to_json()["send_after"] == "2024-03-02T01:00:00+00:00"
    assert mine.get("x") == found
    console = Console(record=True, width=200)
    show_campaign(found, console, Words("en"), zone="Asia/Shanghai")
    assert "send from 2024-03-02T09:00+08:00" in console.export_text()


def test_who_says_no_after_the_plan_is_not_sent_to(lake: Lake, receiver) -> None:
    """Of 25 one is put on the list and one refuses after the plan: 23 leave, in the batches as planned, and the arms stay."""
    url, handler = receiver
    write(lake, names(25), [])
    mine = campaigns(lake, ContactSettings(unknown=True, suppress="never.txt"))
    listed = lake.folder.parent / "never.txt"
    listed.write_text("", encoding="utf-8")
    mine.plan("x", channel="email", at=START, holdout=0)
    before = arms(lake, "x")
    listed.write_text("user0003\n", encoding="utf-8")
    write(lake, names(25), [], {"user0011": ["sms"]})
    path = lake.folder.parent / "out.csv"
    sent = mine.export("x", path)
    assert (sent.customers, sent.left_out) == (23, {"suppressed": 1, "refused": 1})
    rows = {row["user_id"] for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())}
    assert rows == {*names(25)} - {"user0003", "user0011"}
    assert mine.send("x", url, SECRET, at=DAY, batch=10) == sent
    assert [len(json.loads(body)["user_ids"]) for _, body in handler.seen] == [9, 9, 5]
    assert arms(lake, "x") == before


class Receiver(BaseHTTPRequestHandler):
    answers: list[int]
    seen: list[tuple[dict, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((dict(self.headers), body))
        self.send_response(self.answers.pop(0) if self.answers else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[tuple[str, type[Receiver]]]:
    """A real HTTP server on this machine."""
    handler = type("Mine", (Receiver,), {"answers": [], "seen": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", handler
        server.shutdown()
        thread.join()


SECRET = b"0123456789abcdef"
DAY = START - timedelta(hours=6)  # 14:00 in Shanghai


def test_webhook_gets_signed_batches_and_is_tried_again(lake: Lake, receiver) -> None:
    url, handler = receiver
    write(lake, names(25), [])
    mine = campaigns(lake)
    mine.plan("x", channel="email", at=START, holdout=0)
    handler.answers = [500, 429]
    waits: list[float] = []
    assert mine.send("x", url, SECRET, at=DAY, batch=10, wait=waits.append).customers == 25
    assert waits == [1.0, 2.0]
    assert [headers["X-Huaxiang-Id"] for headers, _ in handler.seen] == ["x.0", "x.0", "x.0", "x.1", "x.2"]
    sent = [user for _, body in handler.seen[2:] for user in json.loads(body)["user_ids"]]
    assert sorted(sent) == names(25)
    for headers, body in handler.seen:
        stamp, signature = (part.split("=")[1] for part in headers["X-Huaxiang-Signature"].split(","))
        assert hmac.new(SECRET, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest() == signature


@pytest.mark.parametrize(
    ("answers", "tries"), [([400], 1), ([302], 1), ([503] * 9, 3)], ids=["refused", "redirect", "down"]
)
def test_webhook_that_does_not_take_it_is_an_error(lake: Lake, receiver, answers, tries) -> None:
    url, handler = receiver
    write(lake, names(5), [])
    mine = campaigns(lake)
    mine.plan("x", channel="email", at=START, holdout=0)
    handler.answers = list(answers)
    with pytest.raises(ShopError, match=f"HTTP {answers[0]}, after {tries} tries"):
        mine.send("x", url, SECRET, at=DAY, tries=3, wait=lambda _: None)
    assert len(handler.seen) == tries


def test_webhook_waits_for_the_morning_and_takes_no_file(lake: Lake) -> None:
    write(lake, names(5), [])
    mine = campaigns(lake)
    mine.plan("x", channel="email", at=START, holdout=0)
    with pytest.raises(ShopError, match="2024-03-02 01:00"):
        mine.send("x", "http://127.0.0.1:9/", SECRET, at=datetime(2024, 3, 1, 15))
    with pytest.raises(ShopError, match="http or https address, not file"):
        mine.send("x", "file:///etc/passwd", SECRET, at=DAY)
    with pytest.raises(ShopError, match="did not take batch 0"):
        mine.send("x", "http://127.0.0.1:9/", SECRET, at=DAY, tries=1)


def send(lake: Lake, name: str, at: datetime) -> None:
    """The campaign goes out: a plan that never did is no test to learn from."""
    with leaving(lake, name, at):
        pass


def run_campaign(lake: Lake, count: int, *, lift: float, seed: int = 1) -> Campaigns:
    """A campaign over `count` customers that makes `lift` more of the active treated buy; two messages each, half of them logged twice."""
    write(lake, names(count), [])
    mine = campaigns(lake)
    mine.plan("x", channel="email", at=START, holdout=0.5)
    send(lake, "x", START)
    generator = np.random.default_rng(seed)
    events = []
    for n, (user, arm) in enumerate(sorted(arms(lake, "x").items())):
        if arm == "treated":
            events += [event(user, "coupon_receive", START + timedelta(hours=1), campaign_id="x")] * (1 + n % 2)
        if generator.random() < 0.2 + lift * (arm == "treated") * (n % 2):
            events.append(event(user, "purchase", START + timedelta(days=3), amount=20.0))
    events.append(event("user0000", "purchase", START + timedelta(days=20), amount=1.0))
    write(lake, names(count), events)
    return mine


def test_reading_is_the_difference_of_the_arms(lake: Lake) -> None:
    mine = run_campaign(lake, 1500, lift=0.4)
    found = mine.read("x", at=START + timedelta(days=15))
    assert found.complete
    assert found.difference.estimate == pytest.approx(0.2, abs=0.06)
    assert not found.difference.is_null
    treated = mine.get("x").treated
    assert found.total == pytest.approx(found.difference.estimate * treated)
    assert found.exposed == treated
    assert found.exposures - found.exposed == found.repeated > 0  # counted, and counted once in the reading
    spend = mine.read("x", at=START + timedelta(days=15), metric="spend")
    assert spend.difference.estimate == pytest.approx(20 * found.difference.estimate)


def test_later_events_change_nothing_and_early_readings_say_so(lake: Lake) -> None:
    mine = run_campaign(lake, 300, lift=0.3)
    early = mine.read("x", at=START + timedelta(days=2))
    assert not early.complete
    assert early.difference.treated_mean == 0
    with pytest.raises(ShopError, match="nothing is known of it by then"):
        mine.read("x", at=START)
    write(lake, names(300), [event("user0000", "purchase", START + timedelta(days=1), amount=1.0)])
    stale = mine.read("x", at=START + timedelta(days=15))  # nothing was collected since the first day
    assert (stale.days, stale.complete) == (1.0, False)


def test_exposed_holdout_is_counted_and_stays(lake: Lake) -> None:
    mine = run_campaign(lake, 100, lift=0.3)
    held = [user for user, arm in arms(lake, "x").items() if arm == "holdout"]
    seen = [event(user, "coupon_receive", START, campaign_id="x") for user in (held[0], "user0100")]
    write(lake, names(101), [*seen, event("user0100", "purchase", START + timedelta(days=20), amount=1.0)])
    found = mine.read("x", at=START + timedelta(days=15))
    assert (found.exposed, found.exposed_holdout, found.exposed_others) == (0, 1, 1)
    assert found.difference.holdout == len(held)


def test_campaign_without_holdout_cannot_be_read(lake: Lake) -> None:
    write(lake, names(20), [])
    mine = campaigns(lake)
    mine.plan("x", channel="email", at=START, holdout=0)
    with pytest.raises(ShopError, match="20 treated and 0 held-out"):
        mine.read("x", at=START + timedelta(days=15))
    with pytest.raises(ShopError, match="no campaign 'y'"):
        mine.read("y", at=START)


def test_uplift_is_learned_from_a_campaign_with_holdout_and_ranks_the_next(lake: Lake) -> None:
    mine = run_campaign(lake, 1500, lift=0.5)
    lines: list[str] = []
    progress = LineProgress(lines.append)
    found = find_uplift(lake, seed=1, repeats=1, grid=learner_grid(binary=True)[:1], progress=progress)
    assert [line.split()[:2] for line in lines] == [["uplift", "messages"]] and lines[0].endswith(found["learner"])
    assert found["basis"] == "effect"
    assert found["campaigns"] == ["x"]
    assert not found["uplift"]["is_null"]
    assert json.loads(json.dumps(found))["version"] == found["version"]
    plan = mine.plan("next", channel="email", at=START + timedelta(days=60), holdout=0, most=100)
    assert (plan.treated, plan.targeted_by, plan.uplift_version) == (100, "effect", found["version"])
    assert all(int(user[4:]) % 2 for user in arms(lake, "next"))  # the active, whom it moves
    assert (plan.asked, plan.left_out) == (1500, {"not_chosen": 1400})
    terms = {"channel": "email", "at": START + timedelta(days=90), "holdout": 0}
    paid = mine.plan("paid", spend=Spend(budget=50.0, cost=1.0, margin=20.0), **terms)
    assert paid.treated == 50
    some = campaigns(lake, ContactSettings(unknown=True, suppress="never.txt"))
    (lake.folder.parent / "never.txt").write_text("user0001\nuser0003\nuser0002\n", encoding="utf-8")
    few = some.plan("few", spend=Spend(5.0, 1.0, 20.0), users=[*names(20), "stranger"], **terms)
    assert (few.treated, few.asked) == (5, 21)  # of 20 known three are on the list, and 5.0 pays for five
    assert few.left_out == {"suppressed": 3, "no_profile": 1, "not_chosen": 12}
    assert paid.expected == pytest.approx(50 * (0.5 * 20 - 1), rel=0.3)
    with pytest.raises(ShopError, match="2 on the suppression list; 1 not a known customer"):
        some.plan("nobody", spend=Spend(5.0, 1.0, 20.0), users=["user0001", "user0003", "stranger"], **terms)
    for name, spend in (("none", Spend(0.0, 1.0, 20.0)), ("loss", Spend(50.0, 40.0, 20.0))):
        with pytest.raises(ShopError, match=r"pays for no message|more than a message costs"):
            mine.plan(name, spend=spend, **terms)


@pytest.mark.parametrize(
    ("outcomes", "said"), [([], "no outcome is declared"), ([{"name": "churn_30d"}], "history is too short")]
)
def test_where_no_past_of_customers_is_kept_uplift_says_why(lake: Lake, outcomes: list, said: str) -> None:
    write(lake, names(5), [])
    with lake.step("build") as step:
        step.note |= {"outcomes": outcomes}
        step.drop("training")
    with pytest.raises(ShopError, match=said) as found:
        find_uplift(lake, seed=1)
    assert "earlier steps" not in str(found.value)


def test_a_plan_that_never_went_out_is_no_test_to_learn_from(lake: Lake) -> None:
    """Nobody got anything: half of each arm would look like an effect of 0. Once it is sent, it counts."""
    write(lake, names(60), [])
    campaigns(lake).plan("x", channel="email", at=START, holdout=0.5)
    write(lake, names(60), [event("user0000", "view", START + timedelta(days=90))])
    assert randomised_rows(lake) is None
    send(lake, "x", START)
    rows = randomised_rows(lake)
    assert rows is not None and rows.num_rows == 60


def test_a_good_season_does_not_pass_for_an_effect(lake: Lake) -> None:
    """Nobody is moved. In the dull season half were held out, in the good one a tenth: as they stand, the treated buy more."""
    write(lake, names(3000), [])
    mine, seasons = campaigns(lake), (("dull", 0.5, 0.05, START), ("good", 0.1, 0.5, START + timedelta(days=40)))
    chance, events = np.random.default_rng(3), [event("user0000", "view", START + timedelta(days=90))]
    for name, held, rate, at in seasons:
        mine.plan(name, channel="email", at=at, holdout=held)
        send(lake, name, at)
        hit = chance.random(3000) < rate
        events += [
            event(user, "purchase", at + timedelta(days=2)) for user, own in zip(names(3000), hit, strict=True) if own
        ]
    write(lake, names(3000), events)
    rows = randomised_rows(lake)
    assert rows is not None
    treated, outcome = (np.asarray(rows[one], dtype=float) for one in ("treated", "outcome"))
    assert outcome[treated == 1].mean() == pytest.approx(outcome[treated == 0].mean(), abs=0.04)
    assert rows.num_rows > 2500


def test_without_holdout_redemption_is_measured_and_named_as_such(lake: Lake) -> None:
    generator = np.random.default_rng(4)
    events = [event("user0000", "purchase", START + timedelta(days=300), amount=1.0)]
    for week in range(6):
        sent = START + timedelta(days=30 * week + 1)
        for n, user in enumerate(names(200)):
            events.append(event(user, "coupon_receive", sent, campaign_id=f"c{week}"))
            if generator.random() < (0.4 if n % 2 else 0.02):
                events.append(event(user, "coupon_redeem", sent + timedelta(days=2), campaign_id=f"c{week}"))
    write(lake, names(200), events)
    found = find_uplift(lake, seed=1)
    rates = found["redemption"]
    assert found["basis"] == "redemption"
    assert rates["campaigns"] == ["c4", "c5"]  # later than those learned from
    assert rates["targeted"] > 1.5 * rates["random"]
    assert not rates["is_null"]
    with pytest.raises(ShopError, match="not by effect"):
        campaigns(lake).plan("x", channel="email", at=START + timedelta(days=2), spend=Spend(10, 1, 5))
    write(lake, names(200), events[:50])
    with pytest.raises(ShopError, match="too few"):
        find_uplift(lake, seed=1)


def test_definition_error_is_what_a_bad_share_gives(lake: Lake) -> None:
    write(lake, names(5), [])
    with pytest.raises(DefinitionError):
        campaigns(lake).plan("x", channel="email", at=START, holdout=-0.1)
