"""How well is the purchase intent of a session told from what it did, with and without the column that nearly knows the answer?

    python bench/intent.py --data online_shoppers_intention.csv --out intent.json            # about six minutes on one core

--data: UCI online shoppers' intention, `;` separated, label Revenue. PageValues is worked out by the analytics from transactions, so both
figures are shown: auc with it, auc_without_page_values without. Five outer folds; in each, models and their mixture (mean log-odds) are
chosen by AUC on inner folds of the other four alone, derived columns included. Baseline in the same folds: LightGBM as it comes
(baseline/…). The models are this script's own: the rows are finished sessions without events, which the shop's intent model folds
(bench/decisions.py measures that one). Metrics are means over the outer folds; `chosen` counts what the inner folds took.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from measure import Metrics, note, write_report

Floats = NDArray[np.float64]
PAGES = ("Administrative", "Informational", "ProductRelated")
NUMBERS = (*itertools.chain.from_iterable((page, f"{page}_Duration") for page in PAGES), "BounceRates", "ExitRates", "PageValues", "SpecialDay")  # fmt: skip
CODES = ("OperatingSystems", "Browser", "Region", "TrafficType")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
VISITORS = ("Returning_Visitor", "New_Visitor", "Other")
OUTER, INNER = 5, 3


def boosting(leaves: int, seed: int) -> LGBMClassifier:
    return LGBMClassifier(
        n_estimators=450, learning_rate=0.03, num_leaves=leaves, min_child_samples=40, colsample_bytree=0.35, subsample=0.7,
        subsample_freq=1, reg_lambda=10, random_state=seed, n_jobs=1, verbose=-1,
    )  # fmt: skip


def forest(share: float, seed: int) -> ExtraTreesClassifier:
    return ExtraTreesClassifier(200, min_samples_leaf=5, max_features=share, random_state=seed, n_jobs=1)


MODELS: dict[str, Callable[[int], object]] = {
    "boosting, 5 leaves": lambda seed: boosting(5, seed),
    "boosting, 8 leaves": lambda seed: boosting(8, seed),
    "extra trees": lambda seed: forest(0.4, seed),
}
MIXTURES = [names for size in (1, 2, 3) for names in itertools.combinations(MODELS, size)]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, required=True)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--out", type=Path)
    options = asked.parse_args()
    columns, y = read_sessions(options.data)
    folds = list(StratifiedKFold(OUTER, shuffle=True, random_state=options.seed).split(y, y))
    metrics: Metrics = {}
    chosen: dict[str, dict[str, int]] = {}
    for name, left_out in (("auc", ()), ("auc_without_page_values", ("PageValues",))):
        given = {column: values for column, values in columns.items() if column not in left_out}
        plain, derived = np.column_stack(list(given.values())), np.column_stack(list(derive(given).values()))
        ours, baseline, taken = [], [], Counter[str]()
        for train, test in folds:
            mixture, made = choose(derived[train], y[train], derived[test], options.seed)
            taken[" + ".join(mixture)] += 1
            ours.append(float(roc_auc_score(y[test], made)))
            peer = LGBMClassifier(random_state=options.seed, n_jobs=1, verbose=-1).fit(plain[train], y[train])
            baseline.append(float(roc_auc_score(y[test], peer.predict_proba(plain[test])[:, 1])))
            print(f"{name:<24} {ours[-1]:.4f}  baseline {baseline[-1]:.4f}  {' + '.join(mixture)}", flush=True)
        note(metrics, name, ours)
        note(metrics, f"baseline/{name}", baseline)
        chosen[name] = dict(taken)
    for name, figures in metrics.items():
        print(f"{name:<34} {figures['mean']:.4f} ± {figures['sd']:.4f}")
    write_report(options.out, __doc__.splitlines()[0], options.data.name, metrics, chosen=chosen, sessions=len(y))


def choose(x: Floats, y: Floats, asked: Floats, seed: int) -> tuple[tuple[str, ...], Floats]:
    """The mixture of greatest inner AUC, and its log-odds for `asked`; nothing but `x` and `y` is learned from."""
    inner = StratifiedKFold(INNER, shuffle=True, random_state=seed).split(y, y)
    held = {name: np.zeros(len(y)) for name in MODELS}
    parts = []
    for train, test in inner:
        parts.append(test)
        for name, make in MODELS.items():
            held[name][test] = log_odds(make(seed), x[train], y[train], x[test])
    judged = {
        names: np.mean([roc_auc_score(y[part], sum(held[name][part] for name in names)) for part in parts])
        for names in MIXTURES
    }
    best = max(MIXTURES, key=lambda names: judged[names])
    return best, np.sum([log_odds(MODELS[name](seed), x, y, asked) for name in best], axis=0)


def log_odds(model: object, x: Floats, y: Floats, asked: Floats) -> Floats:
    p = np.clip(model.fit(x, y).predict_proba(asked)[:, 1], 1e-4, 1 - 1e-4)  # type: ignore[attr-defined]
    return np.log(p / (1 - p))


def read_sessions(path: Path) -> tuple[dict[str, Floats], Floats]:
    """Column -> numbers (months and visitors coded), and whether the session bought."""
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in (*NUMBERS, *CODES)}
    columns["Month"] = np.array([float(MONTHS.index(row["Month"])) for row in rows])
    columns["Weekend"] = np.array([float(row["Weekend"] == "TRUE") for row in rows])
    for visitor in VISITORS:
        columns[visitor] = np.array([float(row["VisitorType"] == visitor) for row in rows])
    return columns, np.array([float(row["Revenue"] == "TRUE") for row in rows])


def derive(columns: dict[str, Floats]) -> dict[str, Floats]:
    """The columns, and what follows from each row of them alone: totals, shares, time a page, rates times pages."""
    pages = np.sum([columns[page] for page in PAGES], axis=0)
    seconds = np.sum([columns[f"{page}_Duration"] for page in PAGES], axis=0)
    made = dict(columns)
    made |= {"pages": pages, "seconds": seconds, "seconds_page": seconds / np.maximum(pages, 1)}
    for page in PAGES:
        made[f"{page} seconds"] = columns[f"{page}_Duration"] / np.maximum(columns[page], 1)
        made[f"{page} share"] = columns[page] / np.maximum(pages, 1)
        made[f"{page} seconds share"] = columns[f"{page}_Duration"] / np.maximum(seconds, 1e-9)
    bounce, leave = columns["BounceRates"], columns["ExitRates"]
    made |= {"exits": leave * pages, "bounces": bounce * pages, "leave - bounce": leave - bounce}
    made["bounce / leave"] = bounce / np.maximum(leave, 1e-9)
    if "PageValues" in columns:
        made |= {"value pages": columns["PageValues"] * pages, "value stay": columns["PageValues"] * (0.2 - leave)}
    return made


if __name__ == "__main__":
    main()
