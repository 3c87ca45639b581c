"""Forecasts of buys and money: equal to the published ones, honest about what was known, calm where there is nothing to foresee."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from conftest import DATA
from huaxiang.apply.predict.bgnbd import BgNbd, fit_bgnbd
from huaxiang.apply.predict.buys import Buys, Summary, first_places, gather_buys, summarise
from huaxiang.apply.predict.forecast import examine, forecast, likely
from huaxiang.apply.predict.heads import Asked, Rehearsal, ask, expect_two_part
from huaxiang.apply.predict.next_buy import learn_next
from huaxiang.apply.predict.spend import GammaGamma, fit_spend
from huaxiang.errors import ModelError

SAMPLE = DATA / "cdnow" / "CDNOW_sample.txt"
END = 272  # the last of 39 weeks from the first day of 1997


def summary(frequency: list[float], recency: list[float], age: list[float]) -> Summary:
    return Summary(*(np.array(one, dtype=float) for one in (frequency, recency, age)), spend=np.ones(len(age)))


def draw_shop(customers: int, days: int, *, seed: int, pays: float = 20.0) -> Buys:
    """Customers as BG/NBD has them: r .6, α 6 weeks, a .7, b 2.5; all begin within the first tenth of the days."""
    chance = np.random.default_rng(seed)
    users, rows_user, rows_day = np.array([f"u{n}" for n in range(customers)], dtype=object), [], []
    for user in range(customers):
        rate, leave, day = chance.gamma(0.6, 1 / 42), chance.beta(0.7, 2.5), chance.uniform(0, days / 10)
        while day < days:
            rows_user.append(user)
            rows_day.append(int(day))
            if day > rows_day[0] and len(rows_user) > 1 and rows_user[-2] == user and chance.random() < leave:
                break
            day += chance.exponential(1 / max(rate, 1e-9))
    paid = chance.gamma(4, pays / 4, len(rows_day)) if pays else np.zeros(len(rows_day))
    return gather_buys(users, np.array(rows_user), np.array(rows_day), paid)


@pytest.fixture(scope="module")
def drawn() -> Buys:
    return draw_shop(1500, 300, seed=3)


@pytest.fixture(scope="module")
def cdnow() -> Buys:
    if not SAMPLE.exists():
        pytest.skip(f"{SAMPLE.name} is not here")
    rows = [line.split() for line in SAMPLE.read_text().splitlines()]
    day = np.array([np.datetime64(f"{row[2][:4]}-{row[2][4:6]}-{row[2][6:]}") for row in rows]) - np.datetime64(
        "1997-01-01"
    )
    users, user = np.unique([row[1] for row in rows], return_inverse=True)
    return gather_buys(users.astype(object), user, day.astype(int), np.array([float(row[4]) for row in rows]))


def test_cdnow_parameters_are_the_published_ones(cdnow: Buys) -> None:
    found = fit_bgnbd(summarise(cdnow.until(END), END))
    assert [round(one, 3) for one in (found.r, found.alpha, found.a, found.b)] == [0.243, 4.414, 0.793, 2.426]
    assert found.log_likelihood == pytest.approx(-9582.4, abs=0.05)  # Fader, Hardie & Lee 2005, table 2


def test_cdnow_spend_parameters_are_the_published_ones(cdnow: Buys) -> None:
    known = cdnow.until(END)
    again = summarise(known, END).frequency
    start, _ = first_places(known)
    paid = np.bincount(known.user, weights=known.paid) - known.paid[start]
    found = fit_spend(again, np.divide(paid, again, out=np.zeros(len(again)), where=again > 0))
    assert [round(one, 2) for one in (found.p, found.q, found.v)] == [6.25, 3.74, 15.44]  # Fader & Hardie 2013


def test_expectation_is_the_published_example() -> None:
    # Fader, Hardie & Lee 2005: x = 2, t_x = 30.43, T = 38.86 weeks expects 1.226 in the next 39 (their spreadsheet's note)
    model = BgNbd(0.243, 4.414, 0.793, 2.426)
    one = summary([2], [30.43 * 7], [38.86 * 7])
    assert model.expect(one, 39 * 7)[0] == pytest.approx(1.226, abs=0.001)


def test_expectation_starts_at_nothing_and_grows_at_the_rate_of_the_next_buy() -> None:
    model, known = BgNbd(0.5, 6.0, 0.8, 2.5), summary([0, 3, 400], [0, 60, 690], [0, 80, 700])
    assert model.expect(known, 0.0) == pytest.approx([0, 0, 0], abs=1e-9)
    soon = model.expect(known, 0.01)
    assert soon[:2] == pytest.approx(model.bought_by(known, 0.01)[:2], rel=1e-2)  # at first there is at most one buy
    assert np.all(np.diff([model.expect(known, days) for days in (1, 10, 100, 1000)], axis=0) > 0)


def test_expectation_holds_at_the_ends_of_the_parameters() -> None:
    known = summary([0, 2, 600, 1], [0, 30, 700, 10], [0, 80, 700, 400])
    for a, b in ((400.0, 400.0), (1e-4, 0.2), (1.0, 3.0), (0.2, 278.0)):
        made = BgNbd(0.5, 6.0, a, b).expect(known, 3650.0)
        assert np.all(np.isfinite(made))
        assert np.all(made >= 0)


def test_alive_falls_with_silence_and_is_one_for_those_who_bought_once() -> None:
    model = BgNbd(0.5, 6.0, 0.8, 2.5)
    alive = model.alive(summary([0, 5, 5, 5], [0, 100, 100, 100], [200, 100, 150, 400]))
    assert alive[0] == 1
    assert alive[1] > alive[2] > alive[3] > 0


def test_next_buy_turns_the_chance_around() -> None:
    model, known = BgNbd(0.5, 6.0, 0.8, 2.5), summary([0, 3, 1], [0, 60, 1], [30, 80, 700])
    day = model.next_after(known, np.array([0.2, 0.5, 0.99]))
    assert model.bought_by(known, day)[:2] == pytest.approx([0.2, 0.5])
    assert np.isinf(day[2])  # less likely than that still a customer


def test_spend_is_drawn_to_everybodys_mean_and_back_by_own_buys() -> None:
    model = GammaGamma(6.25, 3.74, 15.44)
    few, many, none = model.expect(np.array([1.0, 50.0, 0.0]), np.array([100.0, 100.0, 0.0]))
    everybody = 6.25 * 15.44 / 2.74
    assert none == pytest.approx(everybody)
    assert everybody < few < many < 100


def test_parameters_come_back_from_drawn_customers() -> None:
    found = fit_bgnbd(summarise(draw_shop(6000, 300, seed=1), 299))
    assert found.r == pytest.approx(0.6, rel=0.15)
    assert found.alpha == pytest.approx(6.0, rel=0.25)


def test_lines_of_a_day_are_one_buy_and_what_is_no_purchase_is_left_out() -> None:
    users = np.array(["a", "b", "c"], dtype=object)
    user, day = np.array([1, 0, 1, 1, 2]), np.array([5, 1, 5, 9, 2])
    found = gather_buys(users, user, day, np.array([2.0, 7.0, 3.0, np.nan, -4.0]))
    assert found.users.tolist() == ["a", "b"]
    assert (found.user.tolist(), found.day.tolist(), found.paid.tolist()) == ([0, 1], [1, 5], [7.0, 5.0])


def test_summary_by_hand() -> None:
    buys = gather_buys(
        np.array(["a", "b"], dtype=object), np.array([0, 0, 0, 1]), np.array([2, 6, 12, 20]), np.array([1.0, 2, 6, 4])
    )
    known = summarise(buys, 20)
    assert known.frequency.tolist() == [2, 0]
    assert known.recency.tolist() == [10, 0]
    assert known.age.tolist() == [18, 0]  # who first bought on the last day is 0 days old
    assert known.spend.tolist() == [3, 4]


def test_what_comes_after_the_end_changes_nothing(drawn: Buys) -> None:
    later = Buys(
        drawn.users, drawn.user, np.where(drawn.day > 200, 201 + drawn.day % 7, drawn.day), drawn.paid * 1, drawn.pieces
    )
    later.paid[drawn.day > 200] *= 50
    first, second = (forecast(one, 200, 60, seed=1) for one in (drawn, later))
    assert np.array_equal(first.expected, second.expected)
    assert first.choice.tried == second.choice.tried
    assert np.array_equal(first.value, second.value)  # type: ignore[arg-type]


def test_hold_out_of_drawn_customers_is_foreseen(drawn: Buys) -> None:
    made, report = examine(drawn, 199, 100, seed=1)
    assert report["customers"] == len(made.expected) == len(made.asked.buys)
    assert 0.85 < report["expected"]["ratio"] < 1.15
    assert report["likely"]["mae"] <= report["expected"]["mae"]
    assert report["coverage"]["buys"] > 0.85
    assert made.likely.sum() == pytest.approx(made.expected.sum())


def test_same_seed_gives_the_same_forecast(drawn: Buys) -> None:
    first, second = (forecast(drawn, 250, 30, seed=5) for _ in range(2))
    assert np.array_equal(first.expected, second.expected)
    assert np.array_equal(first.buys_span, second.buys_span)


def test_likely_numbers_keep_the_sum() -> None:
    assert likely(np.array([0.1, 0.2, 3.0, 1.0]), 2).tolist() == pytest.approx([0, 0, 4.3 * 0.75, 4.3 * 0.25])
    assert likely(np.array([0.1, 0.2]), np.inf).tolist() == [0.1, 0.2]


def test_discount_takes_off_what_it_says(drawn: Buys) -> None:
    plain, less = (forecast(drawn, 250, 365, seed=1, discount=discount) for discount in (0.0, 0.1))
    assert plain.value is not None
    assert less.value is not None
    share = less.value / plain.value
    assert share.min() > 1 / 1.1
    assert share.max() < 1


def test_next_days_are_measured(drawn: Buys) -> None:
    asked = ask(drawn, 199, 100)
    found = learn_next(drawn, asked, seed=1)
    assert found.measured[0.1] == pytest.approx(0.1, abs=0.06)
    low, half = found.days(asked, 0.1), found.days(asked, 0.5)
    assert np.all(low <= half)
    assert np.all(np.diff(found.came) >= 0)
    soon = np.isfinite(half)
    assert np.all(found.chance(asked, 100)[soon & (half <= 100)] >= 0.5 - 1e-3)


def test_money_is_left_out_where_nobody_paid() -> None:
    made = forecast(draw_shop(300, 300, seed=2, pays=0), 299, 30, seed=1)
    assert made.value is None
    assert made.value_span is None
    assert made.expected.sum() > 0


@pytest.mark.parametrize(
    ("frequency", "what"),
    [([0.0] * 40, "40 customers bought, 0 of them again"), ([3.0], "1 customer bought"), ([], "0 customers bought")],
    ids=["no repeat buyer", "one customer", "nobody"],
)
def test_too_few_are_refused(frequency: list[float], what: str) -> None:
    with pytest.raises(ModelError, match=what):
        fit_bgnbd(summary(frequency, [one * 10 for one in frequency], [50.0] * len(frequency)))


def test_short_history_is_refused() -> None:
    buys = gather_buys(np.array(["a"], dtype=object), np.array([0, 0]), np.array([1, 5]), np.ones(2))
    with pytest.raises(ModelError, match="cover 5 days"):
        forecast(buys, 5, 30, seed=1)


def test_customers_of_the_last_day_only_are_foreseen() -> None:
    made = forecast(drawn_with_newcomers(), 250, 30, seed=1)
    fresh = made.asked.known.age == 0
    assert fresh.sum() == 5
    assert np.all(np.isfinite(made.expected[fresh]))
    assert np.all(made.expected[fresh] > 0)


def drawn_with_newcomers() -> Buys:
    old = draw_shop(300, 251, seed=4)
    users = np.append(old.users, [f"new{n}" for n in range(5)]).astype(object)
    return gather_buys(
        users,
        np.append(old.user, np.arange(5) + len(old)),
        np.append(old.day, [250] * 5),
        np.append(old.paid, [9.0] * 5),
    )


@pytest.mark.parametrize(
    ("customers", "buyers", "said"),
    [
        (168, 168, "168 customers to learn from; 500 are needed"),
        (600, 99, "99 customers to learn from; 100 are needed"),
    ],
    ids=["customers", "buyers"],
)
def test_two_part_names_the_count_that_is_too_small(customers: int, buyers: int, said: str) -> None:
    seen = Rehearsal(cast(Asked, None), np.repeat([1.0, 0.0], [buyers, customers - buyers]))
    with pytest.raises(ModelError, match=said):
        expect_two_part(seen, seen.asked, seed=1)
