"""Whom does a treatment move? Learners of uplift against propensity and a random order, by repeated 5-fold out-of-fold ranking.

    python bench/uplift.py --data hillstrom.csv --treatment segment --arm "Womens E-Mail" --control "No E-Mail" --outcome visit

In every outer fold the learner and its regularisation are chosen on inner folds of the other four, then rank the fold; `qini` and `auuc`
are means over folds and repeats as huaxiang.apply.market.qini defines them, and `qini_lower95` and `qini_upper95` the ends of the bootstrap
interval (customers resampled within their fold, the ranking held; mean over the repeats, which share the customers). Figures are means over
folds and not of the pooled scores: a model's overall level is low where its held-out fold is high, which costs pooled scores about .005 here.

Features are the columns left of the treatment column, or those of --columns. Three minutes a repeat on one core for 20,000 customers. `--every`
measures every learner of the grid as well, unchosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from huaxiang.apply.market.experiment import read_experiment
from huaxiang.apply.market.qini import quick_qini
from huaxiang.apply.market.uplift import OUTER, is_binary, measure_uplift, split_folds
from huaxiang.apply.market.uplift_learners import fit_learner, learner_grid
from measure import Metrics, Timer, note, write_report


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--treatment", required=True, help="column that says what each customer got")
    asked.add_argument("--arm", required=True, help="its value for the treated")
    asked.add_argument("--control", required=True, help="its value for those who got nothing")
    asked.add_argument("--outcome", required=True, help="column of 0/1 or of amounts")
    asked.add_argument(
        "--columns", default="", help="a,b,c: columns known before; default: those left of the treatment"
    )
    asked.add_argument("--repeats", type=int, default=5)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--every", action="store_true", help="also each learner by itself")
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    test = read_experiment(
        given.data,
        treatment=given.treatment,
        arm=given.arm,
        control=given.control,
        outcome=given.outcome,
        columns=[one for one in given.columns.split(",") if one],
    )
    print(
        f"{len(test.outcome):,} customers, {int(test.treated.sum()):,} treated; {len(test.x.columns)} columns: {', '.join(test.x.columns)}"
    )
    for name, why in test.left_out.items():
        print(f"left out: {name} ({why})")
    with Timer() as timer:
        found = measure_uplift(
            test.x,
            test.treated,
            test.outcome,
            seed=given.seed,
            repeats=given.repeats,
            tell=lambda line: print(line, flush=True),
        )
    metrics: Metrics = {}
    ranking = found.ranking
    for name, values in (
        ("qini", found.per_repeat["qini"]),
        ("auuc", found.per_repeat["auuc"]),
        ("qini_lower95", [ranking.qini_interval[0]]),
        ("qini_upper95", [ranking.qini_interval[1]]),
        ("auuc_random", [ranking.auuc_random]),
        ("qini_share_of_total", [ranking.share_of_total]),
        ("qini_propensity", [found.peers["propensity"]]),
        ("qini_random", [found.peers["random"]]),
        ("average_effect", [ranking.effect]),
        ("balance_p", [found.balance.p_value]),
        ("seconds", [timer.seconds]),
        ("peak_gb", [timer.peak_gb]),
    ):
        note(metrics, name, values)
    if given.every:
        _measure_every(test, given.seed, given.repeats, metrics)
    for name, one in metrics.items():
        print(f"{name:28} {one['mean']:10.5f} ± {one['sd']:.5f}")
    print(f"chosen: {found.chosen}")
    print("no better than a random order" if ranking.is_null else "better than a random order")
    write_report(
        given.out,
        f"whom does {given.arm!r} move to {given.outcome!r}?",
        given.data.name,
        metrics,
        chosen=found.chosen,
        is_null=ranking.is_null,
        definition="qini: share of the perfect order's area, as scikit-uplift has it",
    )


def _measure_every(test: object, seed: int, repeats: int, metrics: Metrics) -> None:
    """The Qini of each learner of the grid by itself, over the same folds."""
    x, treated, y = test.x, test.treated, test.outcome  # type: ignore[attr-defined]
    for config in learner_grid(binary=is_binary(y)):
        values = []
        for repeat in range(repeats):
            fold = split_folds(treated, y, OUTER, seed + repeat)
            scores = []
            for one in range(OUTER):
                learn, held = fold != one, fold == one
                score = fit_learner(config, x.rows(learn), treated[learn], y[learn], seed=seed + repeat)
                scores.append(quick_qini(score(x.rows(held)), treated[held], y[held]))
            values.append(float(np.mean(scores)))
        note(metrics, f"qini_{config.name}", values)


if __name__ == "__main__":
    main()
