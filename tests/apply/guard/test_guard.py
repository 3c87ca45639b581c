"""The guard on a shop made by hand: honest customers, a ring that buys one item from one device, a serial returner, a coupon farm."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from huaxiang import Shop
from huaxiang.apply.guard.assess import assess
from huaxiang.apply.guard.cases import QUEUE, Case, read_cases, to_arrow
from huaxiang.apply.guard.guard import Guard
from huaxiang.apply.guard.risks import fake_orders_sql
from huaxiang.apply.guard.window import Sources
from huaxiang.cli.run import run_words
from huaxiang.engine import Engine
from huaxiang.errors import DefinitionError, GuardError
from huaxiang.report.guard import guard_body
from huaxiang.settings import RuleSettings

NOW = datetime(2025, 7, 1)
RING = [f"ring{n}" for n in range(8)]
FARM = [f"farm{n}" for n in range(6)]
HONEST = 40
TOML = """
[shop]
name = "Guarded"
timezone = "UTC"

[[collect]]
name = "log"
from = "log.csv"

[[collect.to]]
table = "events"
[collect.to.map]
event = "event"
user_id = "user"
item_id = "item"
order_id = "order"
quantity = {{ value = "1" }}
price = "price"
coupon_id = "coupon"
device = "device"
ts = "ts"
{more}
"""
IDENTIFIERS = """
[[collect]]
name = "devices"
from = "devices.csv"

[[collect.to]]
table = "identifiers"
[collect.to.map]
kind = {{ value = "device" }}
value = "device"
user_id = "user"
ts = "ts"
""".replace("{{", "{").replace("}}", "}")


class Log:
    """Rows of log.csv; a purchase has a view before it."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, ...]] = []
        self.orders = 0

    def buy(self, user: str, item: str, ts: datetime, *, coupon: str = "", device: str = "phone", seen: bool = True, price: float = 10) -> str:  # fmt: skip
        self.orders += 1
        order = f"o{self.orders}"
        if seen:
            self.rows.append(("view", user, item, "", "", "", device, ts - timedelta(minutes=9)))
        self.rows.append(("purchase", user, item, order, price, coupon, device, ts))
        return order


def make_log(*, honest: int = HONEST) -> Log:
    log, chance = Log(), np.random.default_rng(3)
    for n in range(honest):
        for week in range(10):
            ts = datetime(2025, 4, 10, 12) + timedelta(days=7 * week + int(chance.integers(7)), minutes=int(chance.integers(300)))  # fmt: skip
            log.buy(f"h{n}", f"i{chance.integers(40)}", ts)
    for n, user in enumerate(RING):
        for day in (3, 10, 17, 24):
            log.buy(user, "pushed", datetime(2025, 6, day, 14, n), seen=False)
    for week in range(8):
        ts = datetime(2025, 4, 20, 15) + timedelta(days=7 * week)
        order = log.buy("returner", f"i{week}", ts)
        log.rows.append(("refund", "returner", f"i{week}", order, 10, "", "phone", ts + timedelta(days=2)))
        log.buy("owner", f"i{week + 9}", ts - timedelta(days=14))
    for day in (20, 21):  # somebody else, in the owner's name: another device, six times the usual amount
        log.buy("owner", f"i{day}", datetime(2025, 6, day, 3), device="stranger's", price=60)
    for n, user in enumerate(FARM):
        for day in range(4):
            log.buy(user, f"i{n + 6 * day}", datetime(2025, 5, 1 + n + day, 11), coupon="WELCOME")
    return log


def make_shop(folder: Path, log: Log, devices: list[tuple[str, str]] = (), more: str = "") -> Shop:
    with (folder / "log.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("event", "user", "item", "order", "price", "coupon", "device", "ts"), *log.rows])
    if devices:
        with (folder / "devices.csv").open("w", newline="") as out:
            csv.writer(out).writerows([("device", "user", "ts"), *((*row, "2025-04-01 00:00:00") for row in devices)])
        more = IDENTIFIERS + more
    (folder / "huaxiang.toml").write_text(TOML.format(more=more), encoding="utf-8")
    shop = Shop.open(folder, environ={})
    shop.collect(now=NOW)
    shop.clean(now=NOW)
    shop.build(now=NOW)
    return shop


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guarded")
    rule = '[guard.rules.returns]\nwhen = "refund_share > 0.5 and orders >= 5"\naction = "block"\nreason = "R1"\nen = "returns nearly all"\n'
    devices = (
        [("d0", user) for user in RING]
        + [("farm", user) for user in FARM]
        + [(f"own{n}", f"h{n}") for n in range(HONEST)]
    )
    make_shop(folder, make_log(), devices, rule).close()
    return folder


def scores(shop: Shop) -> dict[str, dict[str, object]]:
    of = {
        shop.pseudonyms().of(name): name
        for name in [*RING, *FARM, "owner", "returner", *(f"h{n}" for n in range(HONEST))]
    }
    rows = shop.engine.rows(shop.lake.table("guard.scores"))
    return {of[row["user_id"]]: row for row in rows}


def test_a_ring_is_found_with_its_orders_and_honest_customers_are_let_alone(folder: Path) -> None:
    with Shop.open(folder, environ={}) as shop:
        found = shop.guard.score()
        by_name = scores(shop)
        assert sorted(ring.users for ring in found.rings) == [len(FARM), len(RING)]
        assert all(by_name[user]["fake_orders"] > 0.6 and by_name[user]["action"] == "review" for user in RING)
        assert all(by_name[f"h{n}"]["action"] == "allow" for n in range(HONEST))
        # 8 accounts, 4 orders each, each bought by 7 others of the ring on the same day, on days of a burst
        fakes = shop.engine.rows(shop.lake.table("guard.fake_orders"))
        assert len(fakes) == 32 and {row["user_id"] for row in fakes} == {shop.pseudonyms().of(user) for user in RING}
        assert found.fake_orders == {"orders": 32.0, "users": 8.0, "amount": 320.0}
        assert all("ring_buys_together" in row["why"] for row in fakes)


def test_each_risk_has_its_own_customers_and_reasons(folder: Path) -> None:
    with Shop.open(folder, environ={}) as shop:
        shop.guard.score()
        by_name = scores(shop)
    # 6 accounts of one device with a coupon in their first week: .6, made within a week of each other: (6 − 2) / 6 of .5;
    # 4 such orders each: .4; 6 accounts on one device: (6 − 3) / 7 of .55; a coupon each time: .3
    farm = 1 - 0.4 * (1 - 4 / 6 * 0.5) * 0.6 * (1 - 3 / 7 * 0.55) * 0.7
    assert all(by_name[user]["coupon_farm"] == pytest.approx(farm) for user in FARM)
    assert all(by_name[user]["reasons"][0] == "farm_of_accounts" for user in FARM)
    assert by_name["owner"]["takeover"] == pytest.approx(0.65)  # two of five signs: .3; and again: .5
    assert by_name["owner"]["reasons"][:2] == ["unlike_again", "orders_unlike_owner"]
    assert all(by_name[name]["takeover"] == 0 for name in (*RING, *FARM, "returner"))
    assert {name for name, row in by_name.items() if row["action"] != "allow"} == {*RING, *FARM, "owner", "returner"}


def test_a_rule_of_the_shop_decides_with_its_reason_code(folder: Path) -> None:
    with Shop.open(folder, environ={}) as shop:
        found = shop.guard.score()
        case = next(case for case in found.cases if case.user_id == shop.pseudonyms().of("returner"))
        assert (case.action, case.decided_by, case.reasons[0], case.risk) == ("block", "rule returns", "R1", "malicious_buyer")  # fmt: skip
        assert case.evidence["signals"]["refund_excess"] > 0.4 and case.known["refund_share"] == 1.0
        assert all(order["refunded"] for order in case.evidence["orders"])
        assert found.rules == {"returns": {"matched": 1, "decided": 1}}


def test_nothing_after_as_of_may_move_a_score(folder: Path) -> None:
    with Shop.open(folder, environ={}) as shop:
        names = {shop.pseudonyms().of(name): name for name in RING}

        def orders_and_risk(day: date) -> tuple[dict[str, float], float]:
            with assess(shop.engine, shop.guard._sources(), day, seed=1) as found:
                rows = zip(found.signals.user_ids.to_pylist(), found.signals.of("orders"), strict=True)
                return {names[user]: count for user, count in rows if user in names}, found.risks.scores[:, 0].max()

        before, risk = orders_and_risk(date(2025, 6, 3))
        assert not any(before.values()) and risk == 0
        after, _ = orders_and_risk(date(2025, 6, 4))  # the ring bought on the third, and is known the day after
        assert after == dict.fromkeys(RING, 1)


def test_an_open_case_keeps_its_id_from_day_to_day_until_a_verdict(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    with Shop.open(copy, environ={}) as shop:
        user = shop.pseudonyms().of(RING[0])

        def case_on(day: date) -> Case:
            shop.build(as_of=day)
            return next(case for case in shop.guard.score().cases if case.user_id == user)

        first, later = case_on(date(2025, 6, 27)), case_on(date(2025, 6, 28))
        assert later.case_id == first.case_id and later.as_of == date(2025, 6, 28)
        shop.guard.verdict(first.case_id, "fine", now=NOW)  # the id that somebody noted the day before
        (decided,) = read_cases(shop.lake, "verdict = 'fine'")
        unknowing = to_arrow(
            [replace(decided, reasons=())]
        )  # all that speaks against the customer is new to the verdict
        with shop.lake.step("guard") as step:
            step.replace(QUEUE, unknowing)
        another = case_on(date(2025, 6, 29))
        assert another.case_id != first.case_id and another.verdict is None
        assert [case.case_id for case in read_cases(shop.lake, "verdict = 'fine'")] == [first.case_id]


def test_another_day_is_answered_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    with Shop.open(copy, environ={}) as shop:
        case = shop.guard.score().cases[0]
        shop.guard.verdict(case.case_id, "fraud", now=NOW)
        shop.guard.score()
        kept, report = shop.lake.manifest(), (copy / "reports" / "guard.json").read_text(encoding="utf-8")
        past = shop.guard.score(as_of=date(2025, 6, 5))
        # one order each of the ring is no more than chance would have; the verdict was not known then
        assert not past.written and past.decided == 0 and past.fake_orders["orders"] < 32
        assert shop.lake.manifest() == kept and (copy / "reports" / "guard.json").read_text(encoding="utf-8") == report


def test_fake_orders_of_before_the_window_stay_held(folder: Path, tmp_path: Path) -> None:
    """Thirty days before July hold the ring's orders of 3, 10, 17, 24 June; ten days those of 24 June alone."""
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    with Shop.open(copy, environ={}) as shop:
        shop.guard.score()
        short = shop.settings.model_copy(update={"guard": shop.settings.guard.model_copy(update={"days": 10})})
        found = Guard(shop.lake, short).score()
        days = shop.engine.rows(f"SELECT day, count(*) AS n FROM ({shop.engine.sql(shop.lake.table('guard.fake_orders'))}) GROUP BY 1 ORDER BY 1")  # fmt: skip
        assert [(row["day"].day, row["n"]) for row in days][:3] == [(3, 8), (10, 8), (17, 8)]
        assert found.fake_orders["orders"] == sum(row["n"] for row in days)


def test_what_was_done_months_ago_is_still_told_unless_the_shop_looks_back_less(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    later = date(2026, 2, 1)  # seven months after the last event
    with Shop.open(copy, environ={}) as shop:
        found = Guard(shop.lake, shop.settings).score(as_of=later)
        assert found.days == 365 and found.fake_orders["orders"] == 32
        assert found.risks["coupon_farm"]["above"] == len(FARM)
        short = shop.settings.model_copy(update={"guard": shop.settings.guard.model_copy(update={"days": 90})})
        with pytest.raises(GuardError, match="90 days"):
            Guard(shop.lake, short).score(as_of=later)


def test_a_misspelt_signal_names_the_near_one(folder: Path) -> None:
    with Shop.open(folder, environ={}) as shop:
        rule = RuleSettings(when="refund_shar > 0.5", action="review")
        with pytest.raises(DefinitionError, match="refund_share"):
            shop.guard.try_rule("returns", rule)
        with pytest.raises(DefinitionError, match="not"):
            shop.guard.try_rule("evil", RuleSettings(when="__import__('os').getcwd() == ''", action="block"))


def test_a_dry_run_counts_by_week_and_writes_nothing(folder: Path) -> None:
    with Shop.open(folder, environ={}) as shop:
        before = shop.lake.manifest()
        found = shop.guard.try_rule("returns", RuleSettings(when="refund_share > 0.5 and orders >= 8", action="review"))  # fmt: skip
        assert shop.lake.manifest() == before
        assert len(found.trials) == 5
        last = found.trials[-1]
        assert (last.matched, last.orders, last.moved) == (
            1,
            8.0,
            1,
        )  # blocked by the rule as it is, reviewed by the new one
        assert last.before["block"] == 1 and last.after["block"] == 0
        assert found.trials[0].matched == 0  # four weeks before, the returner had fewer orders


def fakes_of(shop: Shop, user: str) -> list[list[str]]:
    """Why each order of a customer is held fake."""
    held = shop.engine.sql(shop.lake.table("guard.fake_orders"))
    return [row["why"] for row in shop.engine.rows(f"SELECT why FROM ({held}) WHERE user_id = '{user}'")]


def test_fraud_of_another_kind_makes_no_order_fake(folder: Path, tmp_path: Path) -> None:
    """Who gives back what they bought did buy it."""
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    with Shop.open(copy, environ={}) as shop:
        shop.guard.score()
        user = shop.pseudonyms().of("returner")
        shop.guard.verdict(user, "fraud", now=NOW)
        assert shop.guard.score().fake_orders["orders"] == 32 and fakes_of(shop, user) == []


def test_a_verdict_closes_the_case_and_stays(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    with Shop.open(copy, environ={}) as shop:
        guard = shop.guard
        first = {case.user_id: case for case in guard.score().cases}
        fine, fraud = (first[shop.pseudonyms().of(user)] for user in RING[:2])
        guard.verdict(fine.case_id, "fine", now=NOW)
        guard.verdict(fraud.user_id, "fraud", now=NOW)
        again = guard.score()
        # four orders of the one who is fine are held no longer; those of the one ruled fraud all are, and say so
        assert fakes_of(shop, fine.user_id) == [] and fakes_of(shop, fraud.user_id) == [["verdict"]] * 4
        assert again.fake_orders["orders"] == 28
        guard.verdict(fine.case_id, "fraud", now=NOW + timedelta(days=1))  # the last verdict counts
        assert guard.score().fake_orders["orders"] == 32
        guard.verdict(fine.case_id, "fine", now=NOW + timedelta(days=2))
        again = guard.score()
        by_name = scores(shop)
        assert by_name[RING[0]]["action"] == "allow" and by_name[RING[1]]["action"] == "block"
        assert {case.user_id for case in again.cases} == set(first) - {fine.user_id, fraud.user_id}
        assert again.decided == 2 and (again.learned["fraud"], again.learned["fine"]) == (1, 1)
        with pytest.raises(GuardError, match="no case"):
            guard.verdict("nowhere", "fine", now=NOW)
        with pytest.raises(GuardError, match="no verdict"):
            guard.verdict(fine.case_id, "maybe", now=NOW)


def test_a_shop_with_one_customer_and_no_identifiers_gets_a_plain_answer(tmp_path: Path) -> None:
    log = Log()
    log.buy("alone", "x", datetime(2025, 6, 1, 10))
    with make_shop(tmp_path, log) as shop:
        found = shop.guard.score()
        assert (found.users, found.ties, found.ring_count, len(found.cases)) == (1, 0, 0, 0)
        with pytest.raises(GuardError, match="nobody"):
            shop.guard.score(as_of=date(2024, 1, 1))


def test_a_shop_without_orders_is_assessed_too() -> None:
    texts = ("user_id", "event_id", "event", "order_id", "item_id", "coupon_id", "device", "refund_of", "text")
    numbers = ("quantity", "price", "amount", "discount", "rating", "refunded")
    at = datetime(2025, 6, 1, 10)
    row = dict.fromkeys(texts, None) | dict.fromkeys(numbers, None) | {"event": "view", "order_key": None, "item_no": 1, "ts": at, "day": at.date(), "known_day": at.date(), "hour": 10}  # fmt: skip
    types = {**dict.fromkeys(texts, pa.string()), **dict.fromkeys(numbers, pa.float64()), "order_key": pa.int64(), "item_no": pa.int32(), "ts": pa.timestamp("us"), "day": pa.date32(), "known_day": pa.date32(), "hour": pa.int8(), "user_no": pa.int32()}  # fmt: skip
    with Engine(memory_gb=0.3, threads=1) as engine:
        events = engine.load(pa.Table.from_pylist([row | {"user_no": n, "user_id": f"u{n}"} for n in range(5)], pa.schema(types.items())))  # fmt: skip
        users = "SELECT n::INTEGER AS user_no, 'u' || n AS user_id, NULL::TIMESTAMP AS registered_at, TIMESTAMP '2025-06-01' AS first_ts FROM range(5) t(n)"
        with assess(engine, Sources(f"SELECT * FROM {events.get_name()}", users), date(2025, 6, 2), seed=1) as found:
            assert len(found) == 5 and found.signals.of("orders").sum() == 0 and found.risks.scores.max() == 0
            assert engine.rows(fake_orders_sql(found.orders)) == []


def test_a_shop_that_is_not_built_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "huaxiang.toml").write_text("[shop]\nname = 'x'\n", encoding="utf-8")
    with Shop.open(tmp_path, environ={}) as shop, pytest.raises(GuardError, match="not built"):
        shop.guard.score()
    (tmp_path / "huaxiang.toml").write_text("[shop]\nname = 'x'\nengine = 'spark'\n", encoding="utf-8")
    with Shop.open(tmp_path, environ={}) as shop, pytest.raises(GuardError, match="spark"):
        shop.guard.score()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_report_shows_risks_cases_and_the_fake_orders(folder: Path, lang: str) -> None:
    with Shop.open(folder, environ={}) as shop:
        found = shop.guard.score().to_dict()
    body = str(guard_body(found, "zh" if lang == "zh" else "en"))
    assert ("刷单" if lang == "zh" else "fake orders") in body
    assert "32" in body and found["cases"][0]["case_id"] in body


def test_the_command_line_scores_lists_and_closes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as end:
            run_words(["guard", *words])
        assert end.value.code == 0
        return capsys.readouterr().out

    told = run(str(folder))
    assert "fake orders: 32" in told and "of the 365 days" in told
    listed = json.loads(run("queue", str(folder), "--json"))
    shown = " ".join(run("queue", str(folder)).split())  # the terminal breaks long lines
    assert f"as of {listed[0]['as_of']}, reasons {listed[0]['definition']}, model none" in shown
    assert "known" not in listed[0] and "fine" in run("verdict", str(folder), listed[0]["case_id"], "fine")
    assert len(json.loads(run("queue", str(folder), "--json"))) == len(listed) - 1
    with pytest.raises(SystemExit) as end:
        run_words(["guard", "verdict", str(folder), "nowhere", "fine"])
    assert end.value.code == 1 and "no case" in capsys.readouterr().err


def test_the_moment_of_a_verdict_is_kept(folder: Path) -> None:
    with Shop.open(folder, environ={}) as shop:
        case = shop.guard.score().cases[0]
        moment = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
        shop.guard.verdict(case.case_id, "fraud", now=moment)
        kept = shop.engine.value(f"SELECT decided_at FROM ({shop.engine.sql(shop.lake.table('guard.queue'))}) WHERE case_id = '{case.case_id}'")  # fmt: skip
        assert kept == moment
