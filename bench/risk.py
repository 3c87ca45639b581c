"""Do the lines of a basket say more about fraud than its totals?

    python bench/risk.py --baskets baskets.csv.gz --lines products.csv.gz --out risk.json      # about 2 minutes

Baskets: ID, fraud_flag; lines: basket_ID, item, cash_price, make, model, goods_code, Nbr_of_prod_purchas. Cross-validated, stratified, a new
deal of the folds each seed; LightGBM on money, lines and pieces alone takes the same folds. How often values were fraud is learned within the
training folds (within them again for the training rows), usual prices and frequencies too. A basket's ID is no feature.
Metrics (mean and spread over the seeds; each from the scores of all held-out baskets together): pr_auc, pr_auc_totals_only, ratio,
recall_at_1pct_fpr, and what each part adds (pr_auc_lines_no_labels). Target: ratio ≥ 3.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from huaxiang.apply.guard.baskets import Lines, beside, describe, encode, encode_within, read_lines, total
from huaxiang.models.metrics import Floats, pr_auc
from huaxiang.models.zoo import Matrix, make_model
from huaxiang.models.zoo.boosting import BoostingConfig
from measure import Metrics, note, write_report

SETTINGS = BoostingConfig("binary", trees=200, leaves=15, rate=0.04, leaf_rows=20, threads=1)
# The best of five tried for the totals on these very folds (.032 to .038 at seed 1): if anything, the ratio is too small.
PLAIN = BoostingConfig("binary", trees=300, leaves=31, rate=0.03, leaf_rows=100, column_share=1.0, threads=1)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--baskets", type=Path, required=True)
    asked.add_argument("--lines", type=Path, required=True)
    asked.add_argument("--folds", type=int, default=5)
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    lines, y = read(options.baskets, options.lines)
    found: dict[str, list[float]] = {}
    for seed in range(options.seed, options.seed + options.seeds):
        scores = examine(lines, y, folds=options.folds, seed=seed)
        figures = {
            "pr_auc": pr_auc(y, scores["lines"]),
            "pr_auc_totals_only": pr_auc(y, scores["totals"]),
            "pr_auc_lines_no_labels": pr_auc(y, scores["no_labels"]),
            "recall_at_1pct_fpr": recall_at(y, scores["lines"], 0.01),
            "recall_at_1pct_fpr_totals_only": recall_at(y, scores["totals"], 0.01),
        }
        figures["ratio"] = figures["pr_auc"] / figures["pr_auc_totals_only"]
        print(f"seed {seed}  " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()), flush=True)
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    metrics: Metrics = {}
    for name, values in found.items():
        note(metrics, name, values)
        print(f"{name:<32}{metrics[name]['mean']:8.4f} ± {metrics[name]['sd']:.4f}")
    print(f"{len(y):,} baskets, {int(y.sum()):,} of them fraud ({y.mean():.2%}): what chance alone gives as PR-AUC")
    write_report(
        options.out, __doc__.splitlines()[0], options.baskets.name, metrics, baskets=len(y), fraud=int(y.sum())
    )


def read(baskets: Path, lines: Path) -> tuple[Lines, Floats]:
    """The lines, and (B,) labels."""
    labels, table = csv.read_csv(baskets), csv.read_csv(lines)
    ids = labels["ID"].to_numpy()
    order = np.argsort(ids)
    basket = order[np.searchsorted(ids[order], table["basket_ID"].to_numpy())]
    names = ("item", "make", "model", "goods_code")
    values = {name: _texts(table[name]) for name in names}
    price = table["cash_price"].to_numpy().astype(np.float64)
    quantity = table["Nbr_of_prod_purchas"].to_numpy().astype(np.float64)
    goods = values["goods_code"]
    values["goods_and_price"] = np.char.add(np.char.add(goods, "|"), price.astype(str))
    values["goods_and_number"] = np.char.add(np.char.add(goods, "|"), quantity.astype(str))
    values["item_and_make"] = np.char.add(np.char.add(values["item"], "|"), values["make"])
    made = read_lines(basket, price, quantity, values, sets=("goods_code", "item"))
    return made, labels["fraud_flag"].to_numpy().astype(np.float64)


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(pc.fill_null(column.cast(pa.string()), "?").to_pylist(), dtype=np.str_)


def examine(lines: Lines, y: Floats, *, folds: int, seed: int) -> dict[str, Floats]:
    """(B,) held-out scores: of the lines, of the lines without labels of alike values, of the totals."""
    chance = np.random.default_rng(seed)
    fold = np.empty(len(y), dtype=np.int64)
    for label in (0, 1):
        places = chance.permutation(np.flatnonzero(y == label))
        fold[places] = np.arange(len(places)) % folds
    scores = {name: np.empty(len(y)) for name in ("lines", "no_labels", "totals")}
    sums = total(lines)
    for k in range(folds):
        train, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        plain = describe(lines, train)
        inner = encode_within(lines, y, train, seed=seed)
        fitted, asked = beside(plain.rows(train), inner), beside(plain.rows(test), encode(lines, y, train, test))
        for name, config, left, right in (
            ("lines", SETTINGS, fitted, asked),
            ("no_labels", SETTINGS, plain.rows(train), plain.rows(test)),
            ("totals", PLAIN, sums.rows(train), sums.rows(test)),
        ):
            scores[name][test] = fit_and_score(config, left, y[train], right, seed)
    return scores


def fit_and_score(config: BoostingConfig, train: Matrix, y: Floats, test: Matrix, seed: int) -> Floats:
    return make_model(config).fit(train, y, seed=seed).score(test)


def recall_at(y: Floats, score: Floats, false_positives: float) -> float:
    """The share of fraud above the score that only this share of the others passes."""
    return float(np.mean(score[y == 1] > np.quantile(score[y == 0], 1 - false_positives)))


if __name__ == "__main__":
    main()
