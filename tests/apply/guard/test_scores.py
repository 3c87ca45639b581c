"""Anomaly scores, risks, what verdicts teach, and the lines of baskets: by hand, and never from what may not be seen."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from huaxiang.apply.guard.anomaly import ecod, isolation, share_below
from huaxiang.apply.guard.baskets import describe, encode, encode_within, read_lines, total
from huaxiang.apply.guard.cases import Case
from huaxiang.apply.guard.learn import LEAST, learn
from huaxiang.apply.guard.risks import REASONS, RISKS, judge
from huaxiang.apply.guard.signals import SIGNALS, Signals
from huaxiang.words import Words


def test_ecod_of_four_values_by_hand() -> None:
    # 1, 2, 3, 10: skewed to the right. Right tails 4/4, 3/4, 2/4, 1/4; left tails 1/4 … 4/4. The largest of left, right and chosen (right):
    score = ecod(np.array([[1.0], [2], [3], [10]]))
    assert score == pytest.approx(-np.log([1 / 4, 2 / 4, 2 / 4, 1 / 4]))


def test_unknown_values_are_no_anomaly() -> None:
    values = np.array([[1.0, np.nan], [2, np.nan], [3, np.nan]])
    assert ecod(values) == pytest.approx(ecod(values[:, :1]))


def test_who_is_far_from_all_is_the_most_unlike() -> None:
    values = np.random.default_rng(0).normal(size=(200, 4))
    values[17] = 9
    assert ecod(values).argmax() == 17 and isolation(values, seed=1).argmax() == 17
    assert isolation(values, seed=1) == pytest.approx(isolation(values, seed=1))
    assert list(share_below(np.array([5.0, 1, 5, 9]))) == [0.25, 0, 0.25, 0.75]


def make_signals(**given: float) -> Signals:
    """One customer with the given signals, the others 0."""
    values = np.array([[given.get(name, 0.0) for name in SIGNALS]])
    return Signals(pa.chunked_array([["u"]]), np.array([1]), values)


def test_a_risk_is_the_noisy_or_of_its_reasons() -> None:
    # refunds .2 above the shop's: (.2 − .05) / (.35 − .05) = .5 of weight .75; 10 loops: the full .5. 1 − (1 − .375)(1 − .5) = .6875
    risks = judge(make_signals(refund_excess=0.2, refund_loops=10))
    assert risks.scores[0, RISKS.index("malicious_buyer")] == pytest.approx(0.6875)
    assert [reason.code for reason in risks.reasons(0)] == ["refund_loops", "refunds_most"]
    assert risks.scores[0, RISKS.index("takeover")] == 0


def test_a_share_of_few_orders_says_nothing() -> None:
    assert judge(make_signals(coupon_share=1.0, orders=2, young_coupon_orders=1)).scores.max() == 0


def test_every_reason_has_words_and_a_known_signal() -> None:
    for reason in REASONS:
        assert reason.signal in SIGNALS and reason.risk in RISKS
        assert all(Words(lang).has(f"guard.reason.{reason.code}") for lang in ("en", "zh"))


def make_case(n: int, verdict: str | None, known: dict[str, float], score: float) -> Case:
    return Case(
        f"c{n}", f"u{n}", date(2025, 1, 1), RISKS[0], score, "review", "risk", (), {}, known, "d", None, verdict
    )


def test_a_model_is_used_only_where_it_beats_the_risks() -> None:
    chance = np.random.default_rng(2)
    teach = [make_case(n, "fraud" if n % 2 else "fine", {"x": n % 2 + 0.1 * chance.normal()}, chance.random()) for n in range(120)]  # fmt: skip
    learned = learn(teach, ("x", "never_known"), seed=1)
    assert learned.model is not None and learned.by_model is not None and learned.by_score is not None
    assert learned.by_model > 0.95 > 0.7 > learned.by_score and learned.version is not None
    told_already = [make_case(n, case.verdict, {"x": chance.normal()}, float(n % 2)) for n, case in enumerate(teach)]
    useless = learn(told_already, ("x",), seed=1)
    assert useless.model is None and useless.by_score == 1.0  # a null result, said


def test_too_few_verdicts_teach_nothing() -> None:
    cases = [make_case(n, "fraud" if n < LEAST - 1 else "fine", {"x": 1.0}, 0.5) for n in range(60)]
    found = learn([*cases, make_case(99, None, {}, 0.9)], ("x",), seed=1)
    assert (found.fraud, found.fine, found.by_model, found.model) == (LEAST - 1, 61 - LEAST, None, None)


GOODS = np.array(["a", "b", "a", "c", "a"])


def make_lines():
    return read_lines(np.array([0, 0, 1, 2, 3]), np.array([1.0, 9, 1, 4, 3]), np.array([1.0, 1, 2, 1, 1]), {"goods": GOODS}, sets=("goods",))  # fmt: skip


def test_the_lines_of_four_baskets() -> None:
    lines = make_lines()
    assert total(lines).values.tolist() == [[10, 2, 2], [2, 1, 2], [4, 1, 1], [3, 1, 1]]
    known = describe(lines, np.array([0, 1]))
    at = {name: known.values[:, place] for place, name in enumerate(known.columns)}
    assert list(at["dearest"]) == [9, 1, 4, 3] and list(at["dearest_share"]) == [0.9, 1, 1, 1]
    # a was 1 and 1 in the baskets that may be seen: basket 3 pays three times that; c was never seen
    assert at["level_goods"][3] == 3.0 and np.isnan(at["level_goods"][2])
    assert lines.baskets["goods"][1] == lines.baskets["goods"][3] != lines.baskets["goods"][0]


def test_no_label_outside_the_training_rows_is_seen() -> None:
    lines, train = make_lines(), np.array([0, 1])
    y = np.array([1.0, 0, 0, 1])
    other = np.array([1.0, 0, 1, 0])
    assert np.array_equal(encode(lines, y, train, np.arange(4)).values, encode(lines, other, train, np.arange(4)).values)  # fmt: skip


def test_a_training_basket_does_not_see_its_own_label() -> None:
    chance = np.random.default_rng(1)
    lines = read_lines(np.arange(200), np.ones(200), np.ones(200), {"own": np.arange(200).astype(str)}, sets=())
    y = (chance.random(200) < 0.3).astype(float)
    values = encode_within(lines, y, np.arange(200), seed=1).values[:, 0]
    # each good is in one basket only, so nothing but the fold's own rate can be known of it
    assert len(np.unique(values.round(9))) <= 10
